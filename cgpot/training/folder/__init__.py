# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of a training: frames and facts that go in, files that come out."""
