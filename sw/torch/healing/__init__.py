# SPDX-License-Identifier: Apache-2.0
"""Healing: what compression broke is mended by distillation, while the codes stay as they are."""
