# SPDX-License-Identifier: Apache-2.0
"""cocotb testbench of a board's top level: lines of text on its serial port, and lights."""

from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Timer, with_timeout
from xorloom.sim.testbenches.agents.bench import read_job, report
from xorloom.sim.testbenches.agents.flash import FlashModel
from xorloom.sim.testbenches.agents.uart import UartReceiver

__all__ = ["tells_passes"]

_LIMIT_US = 200_000


@cocotb.test()
async def tells_passes(dut: Any) -> None:
    """Report lines and lights under the job's events; UART and flash break no rule.

    An event comes before a line: ``contents`` is a file that replaces what is in the flash,
    ``answers`` tells whether the flash answers, ``press_us`` presses the button after some time.
    """
    job = read_job()
    button_up = 1 if job["button_low"] else 0
    dut.button.value = button_up
    half = job["half_period_ps"]
    cocotb.start_soon(Clock(dut.clk, 2 * half, "ps").start())
    uart = UartReceiver(dut.uart_tx, 2 * half * job["divisor"])
    flash = None
    if job["flash"]:
        pins = (dut.flash_sclk, dut.flash_cs_n, dut.flash_copi, dut.flash_cipo)
        flash = FlashModel(*pins, Path(job["flash"]).read_bytes(), job["flash_offset"])
    lines, lights = [], []
    for event in job["events"]:
        if flash is not None:
            flash.answers = event.get("answers", True)
            if "contents" in event:
                flash.contents = Path(event["contents"]).read_bytes()
        if "press_us" in event:
            await Timer(event["press_us"], "us")
            uart.stop()
            dut.button.value = 1 - button_up
            await Timer(20, "us")
            dut.button.value = button_up
            uart.start()
        lines.append(await with_timeout(uart.line(), _LIMIT_US, "us"))
        lights.append(int(dut.led.value))
    errors = uart.errors + (flash.errors if flash else [])
    result: dict[str, Any] = {"lines": lines, "lights": lights}
    if errors:
        result["failure"] = "; ".join(errors[:3])
    report(result)
    assert not errors, result["failure"]
