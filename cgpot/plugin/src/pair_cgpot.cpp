// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_cgpot.h"

#include "direct.h"
#include "graph.h"
#include "member.h"
#include "options.h"
#include "pair_ensemble.h"
#include "pair_graphs.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>

using namespace LAMMPS_NS;
using cgpot::joined;
using cgpot::number;

namespace {

constexpr double mass_tolerance = 0.01;

double seconds_since(std::chrono::steady_clock::time_point start)
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}    // namespace

PairCGPot::PairCGPot(LAMMPS *lmp) :
    Pair(lmp), options_(std::make_unique<cgpot::Options>()),
    ensemble_(std::make_unique<cgpot::PairEnsemble>(lmp, *this)),
    graphs_(std::make_unique<cgpot::PairGraphs>(lmp, *this))
{
  nextra = cgpot::PairEnsemble::summary_length;
  pvector = ensemble_->summary();
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  respa_enable = 0;
  centroidstressflag = CENTROID_AVAIL;
}

PairCGPot::~PairCGPot()
{
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairCGPot::allocate()
{
  allocated = 1;
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) setflag[i][j] = 0;
}

void PairCGPot::settings(int narg, char **arg)
{
  try {
    *options_ = cgpot::parse_options(std::vector<std::string>(arg, arg + narg));
  } catch (const std::exception &e) {
    error->all(FLERR, e.what());
  }
  if (std::strcmp(update->unit_style, "metal") != 0 && std::strcmp(update->unit_style, "real") != 0)
    error->all(FLERR, std::string("pair_style cgpot needs `units metal` or `units real`, found "
                                  "`units ") + update->unit_style + "`");
}

void PairCGPot::coeff(int narg, char **arg)
{
  if (!allocated) allocate();
  if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_coeff for cgpot must read: pair_coeff * * model.nequip.pt2 followed by "
                      "a bead name for each atom type");
  std::vector<std::string> paths{arg[2]};
  for (int k = 3; k < narg && cgpot::names_model(arg[k]); ++k) paths.emplace_back(arg[k]);
  ensemble_->open(paths, *options_);
  graphs_->open(*ensemble_);
  const int used = 2 + static_cast<int>(paths.size());
  map_types(narg - used, arg + used);
}

void PairCGPot::map_types(int narg, char **arg)
{
  if (narg != atom->ntypes)
    error->all(FLERR, "pair_coeff for cgpot: " + std::to_string(atom->ntypes) +
                          " atom type(s) need as many bead names after the model file, found " +
                          std::to_string(narg));
  type_map_.assign(static_cast<std::size_t>(atom->ntypes) + 1, -1);
  const auto &names = ensemble_->first().bead_names;
  for (int i = 1; i <= atom->ntypes; ++i) {
    const std::string name = arg[i - 1];
    if (name == "NULL") {
      if (!utils::strmatch(force->pair_style, "^hybrid"))
        error->all(FLERR, "pair_coeff for cgpot: atom type " + std::to_string(i) +
                              " needs a bead name (the model has: " + joined(names) +
                              "); NULL is for pair_style hybrid");
      continue;
    }
    for (std::size_t k = 0; k < names.size(); ++k)
      if (names[k] == name) type_map_[static_cast<std::size_t>(i)] = static_cast<int>(k);
    if (type_map_[static_cast<std::size_t>(i)] < 0)
      error->all(FLERR, "pair_coeff for cgpot: bead name '" + name + "' of atom type " +
                            std::to_string(i) + " is not in the model " + ensemble_->members()[0].path +
                            ", which has: " + joined(names));
  }
  int count = 0;
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) {
      setflag[i][j] = type_map_[static_cast<std::size_t>(i)] >= 0 &&
              type_map_[static_cast<std::size_t>(j)] >= 0
          ? 1
          : 0;
      count += setflag[i][j];
    }
  if (count == 0) error->all(FLERR, "pair_coeff for cgpot: no atom type has a bead name");
}

void PairCGPot::init_style()
{
  if (atom->tag_enable == 0)
    error->all(FLERR, "pair_style cgpot needs atom IDs: periodic images are found by them");
  check_masses();
  graphs_->init(*options_);
  ensemble_->init(*options_, graphs_->ghosts() != cgpot::Ghosts::image);
}

double PairCGPot::init_one(int i, int j)
{
  if (setflag[i][j] == 0 && setflag[j][i] == 0)
    error->all(FLERR, "pair_style cgpot: no bead names for atom types " + std::to_string(i) +
                          " and " + std::to_string(j));
  return ensemble_->cutoff();
}

void PairCGPot::check_masses() const
{
  if (!atom->mass) return;
  for (int i = 1; i <= atom->ntypes; ++i) {
    const int k = type_map_.empty() ? -1 : type_map_[static_cast<std::size_t>(i)];
    if (k < 0 || !atom->mass_setflag[i]) continue;
    const cgpot::Sidecar &sidecar = ensemble_->first();
    const double expected = sidecar.masses[static_cast<std::size_t>(k)];
    if (std::fabs(atom->mass[i] - expected) > mass_tolerance * expected && comm->me == 0)
      error->warning(FLERR, "cgpot: atom type " + std::to_string(i) + " has mass " +
                                number(atom->mass[i]) + ", but bead " +
                                sidecar.bead_names[static_cast<std::size_t>(k)] +
                                " of the model has " + number(expected));
  }
}

// A neighbour that special_bonds takes out of the list would be missing from the model's graph,
// and a factor between 0 and 1 cannot be applied to a many-body energy. In pair_style hybrid the
// factors are those of this sub-style, which LAMMPS sets before compute().
void PairCGPot::check_special_bonds() const
{
  if (atom->molecular == Atom::ATOMIC) return;
  const double *lj = force->special_lj;
  if (lj[1] == 1.0 && lj[2] == 1.0 && lj[3] == 1.0) return;
  bool bonded = atom->molecular == Atom::TEMPLATE;
  if (atom->nspecial)
    for (int i = 0; i < atom->nlocal && !bonded; ++i) bonded = atom->nspecial[i][2] > 0;
  if (bonded)
    error->all(FLERR, "pair_style cgpot: special_bonds lj is " + number(lj[1]) + " " +
                          number(lj[2]) + " " + number(lj[3]) +
                          ", which hides bonded neighbors from the model: use `special_bonds "
                          "lj/coul 1 1 1`");
}

void PairCGPot::fail_not_finite(const char *what) const
{
  error->one(FLERR, std::string("pair_style cgpot: the ") + what +
                        " is not a finite number at step " + std::to_string(update->ntimestep) +
                        "; " + graphs_->closest());
}

void PairCGPot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  check_special_bonds();
  if (neighbor->exclude && graphs_->own_list())
    error->all(FLERR, "pair_style cgpot: neighbors are excluded since the run was set up: repeat "
                      "the `run` command");
  if (neighbor->exclude && !warned_exclusion_) {
    warned_exclusion_ = true;
    if (comm->me == 0)
      error->warning(FLERR, "cgpot: `neigh_modify exclude` hides neighbors from the model");
  }

  const auto began = std::chrono::steady_clock::now();
  // times of a run are those of its steps: setting up loads and warms what is used first
  if (update->setupflag) ensemble_->reset_times();

  const cgpot::Graph &graph = graphs_->build(type_map_, list);
  if (graph.owned == 0 && !graphs_->exchanger()) {
    ensemble_->evaluate_none(graph);
    ensemble_->act(graph);
    return;
  }
  const auto result = ensemble_->evaluate(graph, graphs_->device(), graphs_->exchanger(),
                                          vflag_global, vflag_atom || cvflag_atom);
  const cgpot::Tally &sums = *result.sums;

  double parts[4] = {};    // sums that do not wait for each other
  for (int n = 0; n < graph.owned; ++n) parts[n % 4] += result.energies[n];
  const double total = (parts[0] + parts[1]) + (parts[2] + parts[3]);
  if (!std::isfinite(total)) fail_not_finite("energy");

  const double energy_scale = ensemble_->scales().energy;
  const double force_scale = ensemble_->scales().force();
  double check[3] = {};
  double *f = graph.nodes ? atom->f[0] : nullptr;
  for (int n = 0; n < graph.nodes; ++n) {
    const double *fn = &sums.forces[3 * static_cast<std::size_t>(n)];
    double *fi = f + 3 * static_cast<std::size_t>(graph.atoms[static_cast<std::size_t>(n)]);
    for (int k = 0; k < 3; ++k) {
      fi[k] += force_scale * fn[k];
      check[k] += std::fabs(fn[k]);
    }
  }
  if (!std::isfinite(check[0] + check[1] + check[2])) fail_not_finite("force");

  if (eflag_global) eng_vdwl += energy_scale * total;
  if (eflag_atom)
    for (int n = 0; n < graph.owned; ++n)
      eatom[graph.atoms[static_cast<std::size_t>(n)]] += energy_scale * result.energies[n];
  if (vflag_global)
    for (int k = 0; k < 6; ++k) virial[k] += energy_scale * sums.virial[k];
  if (sums.atom_virial)
    for (int n = 0; n < graph.nodes; ++n) {
      const int i = graph.atoms[static_cast<std::size_t>(n)];
      const double *w = &sums.virials[9 * static_cast<std::size_t>(n)];
      if (vflag_atom)
        for (int k = 0; k < 3; ++k) {
          vatom[i][k] += energy_scale * w[k];
          vatom[i][k + 3] += 0.5 * energy_scale * (w[k + 3] + w[k + 6]);
        }
      if (cvflag_atom)
        for (int k = 0; k < 9; ++k) cvatom[i][k] += energy_scale * w[k];
    }
  if (!update->setupflag) ensemble_->pair_time() += seconds_since(began);
  // after the forces stand: a dump or an error of an action finds them whole
  ensemble_->act(graph);
}

void *PairCGPot::extract(const char *name, int &dim)
{
  dim = 0;
  return std::strcmp(name, "spread_flag") == 0 ? ensemble_->wanted() : nullptr;
}

void *PairCGPot::extract_peratom(const char *name, int &columns)
{
  columns = 0;
  return std::strcmp(name, "spread") == 0 ? ensemble_->atom_spread() : nullptr;
}

int PairCGPot::pack_forward_comm(int n, int *list, double *buffer, int, int *)
{
  return graphs_->pack_forward(n, list, buffer);
}

void PairCGPot::unpack_forward_comm(int n, int first, double *buffer)
{
  graphs_->unpack_forward(n, first, buffer);
}

int PairCGPot::pack_reverse_comm(int n, int first, double *buffer)
{
  return ensemble_->pack_reverse(n, first, buffer);
}

void PairCGPot::unpack_reverse_comm(int n, int *list, double *buffer)
{
  ensemble_->unpack_reverse(n, list, buffer);
}

double PairCGPot::memory_usage()
{
  return Pair::memory_usage() + graphs_->bytes() + ensemble_->bytes();
}
