// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_exclusions.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "neighbor.h"

#include <string>

namespace cgpot {

using namespace LAMMPS_NS;

PairExclusions::PairExclusions(LAMMPS *lmp) : Pointers(lmp) {}

void PairExclusions::init(const SeenPairs &seen)
{
  seen_ = seen;
  begun_ = false;
  const std::string found = std::string(", found `atom_style ") + atom->get_style() + "`";
  // of other styles molecules do not travel with ghosts
  if (seen.intermolecular && (!atom->molecule_flag || atom->molecular == Atom::ATOMIC))
    error->all(FLERR, "pair_style cgpot: the model sees only pairs of different molecules, which "
                      "needs an atom style with molecules (bond, angle, molecular or full)" +
                          found);
  if (seen.bonds > 0 && atom->molecular != Atom::MOLECULAR)
    error->all(FLERR, "pair_style cgpot: the model leaves out bonded neighbors (pairs: " +
                          seen.word() + "), which needs an atom style with bonds (bond, angle, "
                          "molecular or full)" +
                          found);
}

// The bonds of all ranks: atoms that are ghosts here may be joined by bonds of others. LAMMPS keeps
// neighbours further away only where special_bonds asks for them, which must be 1 1 1.
void PairExclusions::gather_bonds()
{
  std::vector<bigint> mine;
  for (int i = 0; i < atom->nlocal; ++i)
    for (int k = 0; k < atom->nspecial[i][0]; ++k)
      if (atom->tag[i] < atom->special[i][k])
        mine.insert(mine.end(), {atom->tag[i], atom->special[i][k]});
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(static_cast<std::size_t>(comm->nprocs)), starts(lengths.size(), 0);
  MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, world);
  std::size_t total = 0;
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    starts[r] = static_cast<int>(total);
    total += static_cast<std::size_t>(lengths[r]);
  }
  std::vector<bigint> all(total);
  MPI_Allgatherv(mine.data(), length, MPI_LMP_BIGINT, all.data(), lengths.data(), starts.data(),
                 MPI_LMP_BIGINT, world);
  std::vector<std::array<std::int64_t, 2>> bonds;
  for (std::size_t k = 0; k + 1 < total; k += 2) bonds.push_back({all[k], all[k + 1]});
  exclusions_.set_bonds(bonds, seen_.bonds);
  if (bonds.empty() && comm->me == 0)
    error->warning(FLERR, "cgpot: the model leaves out bonded neighbors (pairs: " + seen_.word() +
                              "), but the system has no bonds");
}

// Fixes may make, break or bring bonds during a run.
bool PairExclusions::bonds_changed() const
{
  int changed = 0;
  for (int i = 0; i < atom->nlocal && !changed; ++i) {
    const tagint *partners = atom->special[i];
    if (!exclusions_.has_partners(atom->tag[i], {partners, partners + atom->nspecial[i][0]}))
      changed = 1;
  }
  MPI_Allreduce(MPI_IN_PLACE, &changed, 1, MPI_INT, MPI_MAX, world);
  return changed != 0;
}

void PairExclusions::check_molecules(const std::vector<int> &type_map) const
{
  for (int i = 0; i < atom->nlocal; ++i)
    if (atom->molecule[i] <= 0 && type_map[static_cast<std::size_t>(atom->type[i])] >= 0)
      error->one(FLERR, "pair_style cgpot: the model sees only pairs of different molecules, but "
                        "atom " +
                            std::to_string(atom->tag[i]) + " has molecule ID " +
                            std::to_string(atom->molecule[i]) + "; expected one from 1");
}

const Exclusions *PairExclusions::update(const std::vector<int> &type_map, bool fresh)
{
  if (seen_.all()) return nullptr;
  const int nall = atom->nlocal + atom->nghost;
  if (seen_.bonds > 0 && (!begun_ || neighbor->ago == 0)) {    // the same on all ranks
    if (!begun_ || bonds_changed()) gather_bonds();
  }
  if (fresh || !begun_) {
    if (seen_.bonds > 0) {
      exclusions_.set_ids(atom->tag, nall);
    } else {
      check_molecules(type_map);
      exclusions_.set_molecules(atom->molecule, nall);
    }
  }
  begun_ = true;
  const double cell[9] = {domain->xprd, 0.0, 0.0, domain->xy, domain->yprd, 0.0,
                          domain->xz, domain->yz, domain->zprd};
  bool periodic[3];
  for (int k = 0; k < 3; ++k) periodic[k] = domain->periodicity[k] != 0;
  exclusions_.set_cell(cell, periodic, neighbor->skin);
  return &exclusions_;
}

}    // namespace cgpot
