# The IP block in a Zynq-7000 block design: registers at a general-purpose port, weights read
# through a high-performance port, decoded beats to whoever takes AXI4-Stream. For Vivado; never run
# by the tests.
#   xorloom generate --model model.xl.safetensors --unit ip --name xorloom_ip -o build/rtl
# In a project with an open block design that has the processing system as ps7:
#   add_files build/rtl/xorloom_ip.v; update_compile_order -fileset sources_1
#   source constraints/zynq_bd.tcl

set_property -dict [list \
  CONFIG.PCW_USE_M_AXI_GP0 1 \
  CONFIG.PCW_USE_S_AXI_HP0 1 \
  CONFIG.PCW_USE_FABRIC_INTERRUPT 1 \
  CONFIG.PCW_IRQ_F2P_INTR 1 \
  CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ 100 \
] [get_bd_cells ps7]

create_bd_cell -type module -reference xorloom_ip weights
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect control
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect memory
set_property CONFIG.NUM_SI 1 [get_bd_cells control]
set_property CONFIG.NUM_SI 1 [get_bd_cells memory]

set clock [get_bd_pins ps7/FCLK_CLK0]
connect_bd_net $clock [get_bd_pins ps7/M_AXI_GP0_ACLK] [get_bd_pins ps7/S_AXI_HP0_ACLK] \
  [get_bd_pins weights/aclk] [get_bd_pins reset/slowest_sync_clk] \
  [get_bd_pins control/aclk] [get_bd_pins memory/aclk]
connect_bd_net [get_bd_pins ps7/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins weights/aresetn] \
  [get_bd_pins control/aresetn] [get_bd_pins memory/aresetn]
connect_bd_net [get_bd_pins weights/irq] [get_bd_pins ps7/IRQ_F2P]

# s_axil: registers. m_axi: weights. m_axis: codes and masks, to be connected to the consumer.
connect_bd_intf_net [get_bd_intf_pins ps7/M_AXI_GP0] [get_bd_intf_pins control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control/M00_AXI] [get_bd_intf_pins weights/s_axil]
connect_bd_intf_net [get_bd_intf_pins weights/m_axi] [get_bd_intf_pins memory/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins memory/M00_AXI] [get_bd_intf_pins ps7/S_AXI_HP0]
make_bd_intf_pins_external [get_bd_intf_pins weights/m_axis]

# The address map of the drivers: registers where xorloom_mapped() looks for them.
assign_bd_address -offset 0x40000000 -range 4K [get_bd_addr_segs weights/s_axil/reg0]
assign_bd_address
