# SPDX-License-Identifier: GPL-2.0-or-later
"""What two stages exchange as JSON: one typed record for each kind of file, with its format.

Writers give plain data, which is held against the record and written as it is (further keys
are allowed: they are for people and reports).  Readers get the record; a file that does not fit
gives an error that names file and key.
"""

from cgpot.core.records.ensemble_records import (
    DeployedEnsembleRecord,
    DeployedTablesRecord,
    EnsembleRecord,
)
from cgpot.core.records.model_record import ModelRecord
from cgpot.core.records.record import Record
from cgpot.core.records.training_record import TrainingRecord

__all__ = [
    "DeployedEnsembleRecord",
    "DeployedTablesRecord",
    "EnsembleRecord",
    "ModelRecord",
    "Record",
    "TrainingRecord",
]
