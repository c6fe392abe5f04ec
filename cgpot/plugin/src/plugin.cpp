// SPDX-License-Identifier: GPL-2.0-or-later
// Registers `pair_style cgpot` with a LAMMPS that has the PLUGIN package.
#include "pair_cgpot.h"

#include "error.h"
#include "lammps.h"
#include "library.h"
#include "lmptype.h"

#include <string>

#ifndef CGPOT_LAMMPS_VERSION
#include "version.h"
#define CGPOT_LAMMPS_VERSION LAMMPS_VERSION
#endif

using namespace LAMMPS_NS;

namespace {

// What LAMMPS reads from a plugin (LAMMPS documentation, "Writing plugins"): five strings, the
// function that creates the style, and the library's handle.
struct Registration {
  const char *version;    // of the LAMMPS whose headers this library was built with
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    void *(*v1)(void *);
    void *(*v2)(void *, int, char **);
  } creator;
  void *handle;
};
using Register = void (*)(Registration *, void *);

void *create(void *lmp)
{
  return static_cast<Pair *>(new PairCGPot(static_cast<LAMMPS *>(lmp)));
}

}    // namespace

extern "C" __attribute__((visibility("default"))) void
lammpsplugin_init(void *lmp, void *handle, void *register_function)
{
  auto *lammps = static_cast<LAMMPS *>(lmp);
  // a LAMMPS with other integer sizes lays its data out differently: refuse instead of crashing
  const int tag_bytes = lammps_extract_setting(lmp, "tagint");
  const int image_bytes = lammps_extract_setting(lmp, "imageint");
  if (tag_bytes != static_cast<int>(sizeof(tagint)) ||
      image_bytes != static_cast<int>(sizeof(imageint))) {
    lammps->error->warning(FLERR, "cgpot was built for other integer sizes than this LAMMPS has "
                                  "(LAMMPS_SMALLBIG or LAMMPS_BIGBIG): pair_style cgpot is not "
                                  "available, build it again with the right one");
    return;
  }
  Registration plugin{};
  plugin.version = CGPOT_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "cgpot";
  plugin.info = "coarse-grained potential from a compiled NequIP model";
  plugin.author = "the cgpot developers";
  plugin.creator.v1 = &create;
  plugin.handle = handle;
  reinterpret_cast<Register>(register_function)(&plugin, lmp);
}
