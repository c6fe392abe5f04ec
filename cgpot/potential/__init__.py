# SPDX-License-Identifier: GPL-2.0-or-later
"""What a potential is: basis functions, splines and sums of them, with their labels on a frame."""
