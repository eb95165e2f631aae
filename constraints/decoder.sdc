# Clock of the generated decoder (also valid as .xdc). All ports are synchronous to aclk; aresetn is a
# synchronous reset. ECP5 speed grade 6 closes near 119 MHz out of context, see README.
create_clock -name aclk -period 10.000 [get_ports aclk]
