# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line drives over several stages: refinement, distillation, ensembles, studies.

A workflow calls the public functions of the stages; no stage knows a workflow.
"""
