# SPDX-License-Identifier: Apache-2.0
"""Other machines: Dask workers that encode, and files behind URLs.

The one room that needs the extra ``cluster``; what needs it is imported when it is called.
"""
