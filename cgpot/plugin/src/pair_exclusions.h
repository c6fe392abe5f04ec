// SPDX-License-Identifier: GPL-2.0-or-later
// The pairs that the models of a pair style do not see, from LAMMPS's molecules and bonds.
#pragma once

#include "exclusions.h"

#include "pointers.h"

#include <vector>

namespace cgpot {

class PairExclusions : protected LAMMPS_NS::Pointers {
 public:
  explicit PairExclusions(LAMMPS_NS::LAMMPS *lmp);

  // Before a run; errors where the atom style does not hold what is needed.
  void init(const SeenPairs &seen);

  // As the atoms are now; null where all pairs are seen. fresh: whether atoms are others than at the
  // call before. type_map: as for PairGraphs.
  const Exclusions *update(const std::vector<int> &type_map, bool fresh);

  std::size_t bytes() const { return exclusions_.bytes(); }

 private:
  SeenPairs seen_;
  Exclusions exclusions_;
  bool begun_ = false;    // whether bonds and atoms of this run are known

  void gather_bonds();
  bool bonds_changed() const;
  void check_molecules(const std::vector<int> &type_map) const;
};

}    // namespace cgpot
