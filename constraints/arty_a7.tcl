# Bitstream for the Arty A7-35T with Vivado; never run by the tests.
#   xorloom boards --sources --board arty-a7
#   vivado -mode batch -source constraints/arty_a7.tcl
set root [file normalize [file join [file dirname [info script]] ..]]
set out [file join $root build boards arty-a7]

read_verilog [file join $out xorloom_arty_a7.v]
read_xdc [file join $root constraints arty_a7.xdc]
synth_design -top xorloom_arty_a7 -part xc7a35ticsg324-1L
opt_design
place_design
phys_opt_design
route_design
report_timing_summary -file [file join $out timing.txt]
report_utilization -file [file join $out utilization.txt]
if {[get_property SLACK [get_timing_paths]] < 0} {
  puts stderr "timing is not met, see [file join $out timing.txt]"
  exit 1
}
write_bitstream -force [file join $out xorloom_arty_a7.bit]
