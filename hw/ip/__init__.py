# SPDX-License-Identifier: Apache-2.0
"""IP block: weight decoder, registers and top level.

How the units recover from a fault
----------------------------------
:class:`~xorloom.hw.ip.parser.WeightParser` alone decides that a stream is lost. When it finds
something wrong it takes no more words, and waits until the streams before that one have left, be
they verified or complete with their CRC to come:
:class:`~xorloom.hw.ip.fault_drain.FaultDrain`. The rest follows in this order; other docstrings
refer to this text.

1. ``fault``, for one cycle, with ``cause``. Parser to all. The join closes the output packet with
   a ``bad`` beat; the registers keep the cause and empty their descriptor queue. The units between
   parser and join are reset in the cycle after it, from registers of their own. No word comes to
   them in that cycle; what still leaves them, the join drops.
2. ``dropping``, from the cycle of the fault until the parser begins again. Parser to top level.
   Words are accepted and dropped, and no descriptor passes from the registers to the reader: it
   might name a stream that the fault has cancelled.
3. ``forget``, one cycle after the fault. Top level to the ``abort`` of the reader. It is a cycle
   late because a descriptor may still be handed over in the cycle of the fault. The reader drops
   its descriptors and the word on offer, and reads the bursts in flight to their end.
4. ``quiet``: the reader is not busy, so no word from before the fault can come. Reader to parser.
   The parser looks at it, a cycle late, from the fifth cycle after the fault on, when the reader
   has seen ``forget``. Then, if no word is offered, ``dropping`` falls.

Without a reader (``packets`` of the parser) there is no ``quiet``: the parser drops words up to
the last one of the input packet, and none if the fault came between two packets. An ``abort`` by
software is a fault with cause ``ABORTED``.
"""
