# Clock of the generated decoder (also valid as .xdc). All ports are synchronous to aclk; aresetn is a
# synchronous reset. docs/results.md gives Fmax out of context.
create_clock -name aclk -period 10.000 [get_ports aclk]
