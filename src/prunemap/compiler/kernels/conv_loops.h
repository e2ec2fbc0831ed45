/* The loops around a tile with pixels in the lanes; included last by conv_tile.h and conv_masked_tile.h.
 * Vectors outside: the pixels of a tile stay in L1 while all groups pass. Groups outside: a group's weights do. */
static void NAME()(const conv_step *s, const conv_pointers *p, range groups, range strips) {
  if (s->pixels_outer) {
    for (int v = strips.begin; v < strips.end; v += VECTORS)
      for (int g = groups.begin; g < groups.end; g++) NAME(_tile)(s, p, g, (int64_t)v * LANES);
  } else {
    for (int g = groups.begin; g < groups.end; g++)
      for (int v = strips.begin; v < strips.end; v += VECTORS) NAME(_tile)(s, p, g, (int64_t)v * LANES);
  }
}
#undef NAME
#undef FILTERS
#undef VECTORS
#undef INDEX
#undef STEP
