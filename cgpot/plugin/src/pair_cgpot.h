// SPDX-License-Identifier: GPL-2.0-or-later
// pair_style cgpot: a coarse-grained potential from a compiled model, or from several.
//
//   pair_style cgpot [spread N] [use mean|K] [threshold X] [action stop|warn|dump FILE] ...
//                    [ghosts auto|exchange|halo] [graph auto|host|device]
//   pair_coeff * * a.nequip.pt2 [b.nequip.pt2 ...] BNZ [...]
//
// A bead name for each atom type; NULL in hybrid. Several models are an ensemble: forces, energy
// and virial are the mean of all (use mean) or those of the K-th (use K). A file may hold several
// models, which are evaluated together.
//
// spread N      every N steps evaluate all members; bead i has the force spread
//               s_i = sqrt( sum_m |f_m,i - mean f_i|^2 / (k - 1) ), in force units of LAMMPS
// threshold X   act where the largest s_i exceeds X; action (repeatable): stop with an error, warn
//               (default), append the configuration to FILE as extended XYZ (spread in eV/Angstrom)
//
// ghosts        on several ranks, how a model that passes messages reaches beyond a subdomain:
//               exchange features of ghosts between its layers, or evaluate a halo of ghosts as
//               deep as its layers; auto (default) takes the one with less work
//
// graph         where edges are found: on the host, or on the device of the models (from positions
//               alone; nothing else goes up); auto (default): on GPUs, where nothing speaks against
//
// A sidecar may say that a model sees only pairs of different molecules, or no neighbours joined by
// up to one, two or three bonds (key `pairs`): molecules and bonds are those of the atom style, with
// `special_bonds lj/coul 1 1 1`, and what is left out is left out in its nearest image.
//
// compute C all pair cgpot: c_C[1] largest s_i, [2] their root mean square, [3] spread of energy per
// bead, [4] of the pressure, [5] step at which these were evaluated (-1: not yet); [6] seconds
// in the models and [7] in the pair style since the steps of the run began, summed over ranks.
// fix F all pair N cgpot spread 0|1: s_i per atom; with 1 evaluated for this fix every N steps.
#pragma once

#include "pair.h"

#include <memory>
#include <vector>

namespace cgpot {
class PairEnsemble;
class PairGraphs;
struct Options;
}    // namespace cgpot

namespace LAMMPS_NS {

class PairCGPot : public Pair {
 public:
  explicit PairCGPot(class LAMMPS *);
  ~PairCGPot() override;

  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;
  double memory_usage() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;

 protected:
  virtual void allocate();

 private:
  std::unique_ptr<cgpot::Options> options_;
  std::unique_ptr<cgpot::PairEnsemble> ensemble_;
  std::unique_ptr<cgpot::PairGraphs> graphs_;
  std::vector<int> type_map_;    // model type of each atom type from 1, -1 for NULL
  bool warned_exclusion_ = false;

  void map_types(int narg, char **arg);
  void check_special_bonds() const;
  void check_masses() const;
  [[noreturn]] void fail_not_finite(const char *what) const;
};

}    // namespace LAMMPS_NS
