# SPDX-License-Identifier: Apache-2.0
"""Workers that are no threads: tasks and results go through bytes, as to another machine."""

import pickle

from xorloom.sw.base.workers import Threads
from xorloom.sw.remote.sending import packed
from xorloom.sw.remote.work import build, work

__all__ = ["Posted"]


class Posted(Threads):
    """Workers in this process that get nothing but bytes."""

    def run(self, task, *given):
        data = packed("run", task, *given)
        return pickle.loads(pickle.dumps(work(data, build())))
