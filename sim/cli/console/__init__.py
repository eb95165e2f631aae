# SPDX-License-Identifier: Apache-2.0
"""Parts that commands share: options, configuration files, printing."""
