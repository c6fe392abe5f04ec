// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_cgpot.h"

#include "graph.h"
#include "model.h"
#include "sidecar.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

using namespace LAMMPS_NS;

namespace {

constexpr const char *model_inputs = "pos edge_index atom_types edge_vectors";
constexpr const char *model_outputs = "atomic_energy edge_forces";
constexpr double mass_tolerance = 0.01;

std::string joined(const std::vector<std::string> &words)
{
  std::string out;
  for (const auto &word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string number(double value)
{
  char text[32];
  std::snprintf(text, sizeof text, "%.8g", value);
  return text;
}

// The rank of this process among those on its machine, as launchers tell it; 0 without one.
int local_rank()
{
  for (const char *name : {"MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID",
                           "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID"})
    if (const char *value = std::getenv(name)) return std::atoi(value);
  return 0;
}

// As LAMMPS itself counts: OMP_NUM_THREADS, one thread when it is not set.
int thread_count()
{
  const char *value = std::getenv("OMP_NUM_THREADS");
  const int threads = value ? std::atoi(value) : 1;
  return threads > 0 ? threads : 1;
}

}    // namespace

PairCGPot::PairCGPot(LAMMPS *lmp) : Pair(lmp), tally_(std::make_unique<cgpot::Tally>())
{
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
  if (narg != 0)
    error->all(FLERR, std::string("pair_style cgpot takes no arguments, found '") + arg[0] +
                          "': the model file is named by pair_coeff");
  if (comm->nprocs > 1)
    error->all(FLERR, "pair_style cgpot runs on one MPI rank, found " +
                          std::to_string(comm->nprocs) +
                          ": a model that passes messages between beads reaches beyond the ghost "
                          "atoms of a subdomain; use threads (OMP_NUM_THREADS) or a GPU instead");
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
  open_model(arg[2]);
  map_types(narg - 3, arg + 3);
}

void PairCGPot::open_model(const std::string &path)
{
  const std::string extension = cgpot::model_extension;
  if (path.size() <= extension.size() ||
      path.compare(path.size() - extension.size(), extension.size(), extension) != 0)
    error->all(FLERR, "model file " + path + " does not end in " + extension +
                          ": compile the model with `cgpot deploy`");
  if (!std::ifstream(path)) error->all(FLERR, "model file " + path + " cannot be opened");

  std::string device_text;
  try {
    auto sidecar = std::make_unique<cgpot::Sidecar>(cgpot::read_sidecar(path));

    const std::string running = cgpot::Model::torch_version();
    const auto check_torch = [&](const std::string &compiled) {
      if (compiled != running)
        throw std::runtime_error("compiled with torch " + compiled + ", but this plugin runs with "
                                 "torch " + running + ": compile it here with `cgpot deploy`");
    };
    check_torch(sidecar->torch_version);
    if (!sidecar->sha256.empty()) {
      const std::string found = cgpot::file_sha256(path);
      if (found != sidecar->sha256)
        throw std::runtime_error("its SHA-256 is " + found.substr(0, 12) + "..., but " +
                                 sidecar->path + " was written for " +
                                 sidecar->sha256.substr(0, 12) +
                                 "...: the two files do not belong together");
    }

    auto strings = cgpot::Model::metadata(path);
    if (strings.count("torch_version")) check_torch(strings["torch_version"]);
    if (strings["nequip_aoti_inputs"] != model_inputs ||
        strings["nequip_aoti_outputs"] != model_outputs)
      throw std::runtime_error("compiled for another program: it takes '" +
                               strings["nequip_aoti_inputs"] + "' and gives '" +
                               strings["nequip_aoti_outputs"] + "', expected '" + model_inputs +
                               "' and '" + model_outputs + "': compile it with `cgpot deploy`");
    if (strings["type_names"] != joined(sidecar->bead_names))
      throw std::runtime_error("its bead names are '" + strings["type_names"] + "', but " +
                               sidecar->path + " says '" + joined(sidecar->bead_names) + "'");
    const double r_max = std::atof(strings["r_max"].c_str());
    if (std::fabs(r_max - sidecar->cutoff) > 1e-6 * sidecar->cutoff)
      throw std::runtime_error("its cutoff is " + number(r_max) + ", but " + sidecar->path +
                               " says " + number(sidecar->cutoff));
    const std::string compiled_for = strings["AOTI_DEVICE_KEY"];
    if (!compiled_for.empty() && compiled_for != sidecar->device)
      throw std::runtime_error("compiled for the device '" + compiled_for + "', but " +
                               sidecar->path + " says '" + sidecar->device + "'");

    if (sidecar->device == "cpu") {
      const std::string missing = cgpot::Model::missing_instructions(strings["AOTI_CPU_ISA"]);
      if (!missing.empty())
        throw std::runtime_error("compiled for a processor with " + missing + ", which this one "
                                 "does not have: compile it here with `cgpot deploy`");
    }

    int device_index = -1;
    device_text = "cpu, " + std::to_string(thread_count()) + " thread(s)";
    if (sidecar->device == "cuda") {
      const int count = cgpot::Model::cuda_devices();
      if (count < 1)
        throw std::runtime_error("compiled for CUDA, but torch sees no CUDA device here: compile it "
                                 "with `cgpot deploy --device cpu`, or run where there is a GPU");
      device_index = local_rank() % count;
      device_text = "cuda:" + std::to_string(device_index);
    }
    model_.reset();
    model_ = std::make_unique<cgpot::Model>(path, sidecar->device, device_index, thread_count());
    sidecar_ = std::move(sidecar);
  } catch (const std::exception &e) {
    error->all(FLERR, "model file " + path + ": " + e.what());
  }

  const double per_ev = std::strcmp(update->unit_style, "real") == 0
      ? utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL)
      : 1.0;
  energy_scale_ = sidecar_->energy_in_ev() * per_ev;
  length_scale_ = 1.0 / sidecar_->length_in_angstrom();
  cutoff_ = sidecar_->cutoff / length_scale_;
  builder_ = std::make_unique<cgpot::GraphBuilder>(sidecar_->cutoff, length_scale_);
  model_path_ = path;
  if (comm->me == 0)
    utils::logmesg(lmp, "cgpot: " + path + ", beads " + joined(sidecar_->bead_names) + ", cutoff " +
                            number(cutoff_) + " Angstrom, " + sidecar_->dtype + " on " +
                            device_text + "\n");
}

void PairCGPot::map_types(int narg, char **arg)
{
  if (narg != atom->ntypes)
    error->all(FLERR, "pair_coeff for cgpot: " + std::to_string(atom->ntypes) +
                          " atom type(s) need as many bead names after the model file, found " +
                          std::to_string(narg));
  type_map_.assign(static_cast<std::size_t>(atom->ntypes) + 1, -1);
  const auto &names = sidecar_->bead_names;
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
                            std::to_string(i) + " is not in the model " + model_path_ +
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
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairCGPot::init_one(int i, int j)
{
  if (setflag[i][j] == 0 && setflag[j][i] == 0)
    error->all(FLERR, "pair_style cgpot: no bead names for atom types " + std::to_string(i) +
                          " and " + std::to_string(j));
  return cutoff_;
}

void PairCGPot::check_masses() const
{
  if (!atom->mass) return;
  for (int i = 1; i <= atom->ntypes; ++i) {
    const int k = type_map_.empty() ? -1 : type_map_[static_cast<std::size_t>(i)];
    if (k < 0 || !atom->mass_setflag[i]) continue;
    const double expected = sidecar_->masses[static_cast<std::size_t>(k)];
    if (std::fabs(atom->mass[i] - expected) > mass_tolerance * expected && comm->me == 0)
      error->warning(FLERR, "cgpot: atom type " + std::to_string(i) + " has mass " +
                                number(atom->mass[i]) + ", but bead " +
                                sidecar_->bead_names[static_cast<std::size_t>(k)] +
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
  const cgpot::Graph &graph = builder_->graph();
  std::string where = "no pair is within the cutoff";
  if (graph.edges > 0) {
    const auto id = [&](std::int64_t node) {
      return std::to_string(atom->tag[graph.atoms[static_cast<std::size_t>(node)]]);
    };
    where = "the closest beads are atoms " + id(graph.centers()[graph.shortest_edge]) + " and " +
        id(graph.neighbors()[graph.shortest_edge]) + ", " +
        number(graph.shortest / length_scale_) + " Angstrom apart";
  }
  error->one(FLERR, std::string("pair_style cgpot: the ") + what +
                        " is not a finite number at step " + std::to_string(update->ntimestep) +
                        "; " + where);
}

void PairCGPot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  check_special_bonds();
  if (neighbor->exclude && !warned_exclusion_) {
    warned_exclusion_ = true;
    if (comm->me == 0)
      error->warning(FLERR, "cgpot: `neigh_modify exclude` hides neighbors from the model");
  }

  const int nall = atom->nlocal + atom->nghost;
  const int orphan = cgpot::map_owners(atom->tag, atom->nlocal, nall, owner_);
  if (orphan >= 0)
    error->one(FLERR, "pair_style cgpot: ghost atom with ID " + std::to_string(atom->tag[orphan]) +
                          " is the image of no atom on this rank");

  const cgpot::NeighborView view{list->inum, list->ilist, list->numneigh, list->firstneigh,
                                 NEIGHMASK};
  const cgpot::Graph &graph =
      builder_->build(atom->x, atom->type, nall, owner_.data(), type_map_, view);
  if (graph.nodes == 0) return;

  cgpot::Model::Result result{};
  try {
    result = model_->evaluate(graph);
  } catch (const std::exception &e) {
    error->one(FLERR, "model file " + model_path_ + ": " + e.what());
  }

  double total = 0.0;
  for (int n = 0; n < graph.nodes; ++n) total += result.energies[n];
  if (!std::isfinite(total)) fail_not_finite("energy");

  tally_->total_virial = vflag_global;
  tally_->atom_virial = vflag_atom || cvflag_atom;
  tally_->sum(graph, result.gradient);

  const double force_scale = energy_scale_ * length_scale_;
  double check = 0.0;
  double **f = atom->f;
  for (int n = 0; n < graph.nodes; ++n) {
    const double *fn = &tally_->forces[3 * static_cast<std::size_t>(n)];
    double *fi = f[graph.atoms[static_cast<std::size_t>(n)]];
    for (int k = 0; k < 3; ++k) {
      fi[k] += force_scale * fn[k];
      check += std::fabs(fn[k]);
    }
  }
  if (!std::isfinite(check)) fail_not_finite("force");

  if (eflag_global) eng_vdwl += energy_scale_ * total;
  if (eflag_atom)
    for (int n = 0; n < graph.nodes; ++n)
      eatom[graph.atoms[static_cast<std::size_t>(n)]] += energy_scale_ * result.energies[n];
  if (vflag_global)
    for (int k = 0; k < 6; ++k) virial[k] += energy_scale_ * tally_->virial[k];
  if (tally_->atom_virial)
    for (int n = 0; n < graph.nodes; ++n) {
      const int i = graph.atoms[static_cast<std::size_t>(n)];
      const double *w = &tally_->virials[9 * static_cast<std::size_t>(n)];
      if (vflag_atom)
        for (int k = 0; k < 3; ++k) {
          vatom[i][k] += energy_scale_ * w[k];
          vatom[i][k + 3] += 0.5 * energy_scale_ * (w[k + 3] + w[k + 6]);
        }
      if (cvflag_atom)
        for (int k = 0; k < 9; ++k) cvatom[i][k] += energy_scale_ * w[k];
    }
}

double PairCGPot::memory_usage()
{
  double bytes = Pair::memory_usage() + static_cast<double>(owner_.capacity() * sizeof(int));
  if (builder_) bytes += static_cast<double>(builder_->bytes());
  return bytes + static_cast<double>((tally_->forces.capacity() + tally_->virials.capacity()) *
                                     sizeof(double));
}
