/* One register tile of conv.h, FILTERS x VECTORS; included once per tile with NAME, FILTERS, VECTORS and INDEX (the type
 * of the steps) defined.
 * A unit loads its VECTORS pixel vectors once and feeds all FILTERS filters of the group: that reuse is what structure
 * in the zeros buys. */
INLINE void NAME(_tile)(const conv_step *s, const conv_pointers *p, int group, int64_t place) {
  vfloat acc[FILTERS][VECTORS];
  UNROLL for (int f = 0; f < FILTERS; f++)
    UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] = v_splat(p->bias[group * FILTERS + f]);
  const float *x = p->in + place, *w = p->weights + (int64_t)p->starts[group] * FILTERS;
  const INDEX *steps = (const INDEX *)p->indices;
  for (int u = p->starts[group]; u < p->starts[group + 1]; u++, w += FILTERS) {
    x += steps[u];
    vfloat xs[VECTORS];
    UNROLL for (int v = 0; v < VECTORS; v++) xs[v] = v_load(x + v * LANES);
    UNROLL for (int f = 0; f < FILTERS; f++)
      UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] += xs[v] * w[f];
  }
  UNROLL for (int f = 0; f < FILTERS; f++) {
    int row = p->rows[group * FILTERS + f];
    if (row < 0) continue;
    float *out = p->out + (int64_t)row * s->out->plane + place;
    UNROLL for (int v = 0; v < VECTORS; v++) {
      vfloat y = acc[f][v];
      if (p->residual) y += v_load(p->residual + (int64_t)row * s->residual->plane + place + v * LANES);
      y = v_clamp(y, s->low, s->high);
      if (p->mask) y = (vfloat)((vint)y & (vint)v_load(p->mask + place + v * LANES));
      v_store(out + v * LANES, y);
    }
  }
}

/* Vectors outside: the pixels of a tile stay in L1 while all groups pass. Groups outside: a group's weights do. */
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
