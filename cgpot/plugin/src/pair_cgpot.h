// SPDX-License-Identifier: GPL-2.0-or-later
// pair_style cgpot: a coarse-grained potential from a compiled model.
//
//   pair_style cgpot
//   pair_coeff * * model.nequip.pt2 BNZ [...]     (a bead name for each atom type; NULL in hybrid)
#pragma once

#include "pair.h"

#include <memory>
#include <string>
#include <vector>

namespace cgpot {
class GraphBuilder;
class Model;
struct Sidecar;
struct Tally;
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
  double memory_usage() override;

 protected:
  virtual void allocate();

 private:
  std::string model_path_;
  std::unique_ptr<cgpot::Sidecar> sidecar_;
  std::unique_ptr<cgpot::Model> model_;
  std::unique_ptr<cgpot::GraphBuilder> builder_;
  std::unique_ptr<cgpot::Tally> tally_;
  std::vector<int> type_map_;      // model type of each atom type from 1, -1 for NULL
  std::vector<int> owner_;         // owned atom of each owned or ghost atom
  double cutoff_ = 0.0;            // LAMMPS length unit
  double energy_scale_ = 1.0;      // LAMMPS energy per model energy
  double length_scale_ = 1.0;      // model length per LAMMPS length
  bool warned_exclusion_ = false;

  void open_model(const std::string &path);
  void map_types(int narg, char **arg);
  void check_special_bonds() const;
  void check_masses() const;
  [[noreturn]] void fail_not_finite(const char *what) const;
};

}    // namespace LAMMPS_NS
