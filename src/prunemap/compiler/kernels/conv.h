/* Convolution, any sparsity: the step, the share of a thread, the order of the loops.
 *
 *   y[rows[g][f]][q] = clamp(bias[g][f] + sum_u weight[u][f] * x[offset[u] + q]  (+ residual[rows[g][f]][q]))
 *
 * g: row group of F filters with one list of kept units u; q: place in the plane, counted from the origin. A unit is
 * an (input channel, kernel position); its offset is an address difference, so padding, dilation, groups and the phases
 * of a strided conv are all in the offsets. A group's offsets rise, and are stored as steps: step[u] = offset[u] -
 * offset[u - 1], the first one from `base`, which is the lowest offset of the layer; those of a 1x1 conv count
 * channels. So they fit 8 or 16 bits where no gap is too wide. The register tile is F filters x V vectors of pixels
 * (conv_tile.h, and conv_masked_tile.h for rows that are not alike; a strip of the plane is a vector), or F filters in
 * the lanes x R x C pixels (conv_lanes_tile.h, a strip is an output row). */
#ifndef PMAP_CONV_H
#define PMAP_CONV_H

#include "program.h"

typedef struct conv_step conv_step;
typedef struct {
  const float *in, *residual; /* at the origin of plane 0 of one image */
  float *out;
  const int32_t *rows, *starts, *weight_starts;
  const uint16_t *counts;
  const void *indices; /* steps of offsets, offsets, or codes of mask bundles: 8, 16 or 32 bits */
  const float *weights, *bias, *mask;
} conv_pointers;
typedef void (*conv_tiles)(const conv_step *s, const conv_pointers *p, range groups, range strips);

struct conv_step {
  const tensor *in, *out, *residual;
  conv_tiles full, tail; /* for tiles of tile_strips, and for the strips left over */
  int32_t strips, tile_strips, by_rows, groups, filters, pixels_outer, base;
  int64_t rows, starts, weight_starts, counts, indices, weights, bias, mask;
  float low, high;
};

/* Store the vectors of a filter. */
INLINE void conv_store(const conv_step *s, const conv_pointers *p, int row, int64_t place, const vfloat *acc,
                       int vectors) {
  if (row < 0) return;
  float *out = p->out + (int64_t)row * s->out->plane + place;
  UNROLL for (int v = 0; v < vectors; v++) {
    vfloat y = acc[v];
    if (p->residual) y += v_load(p->residual + (int64_t)row * s->residual->plane + place + v * LANES);
    y = v_clamp(y, s->low, s->high);
    if (p->mask) y = (vfloat)((vint)y & (vint)v_load(p->mask + place + v * LANES));
    v_store(out + v * LANES, y);
  }
}

/* Row groups [begin, end) of a thread, so that each thread has the same number of kept units (+ 8 for the store). */
static range groups_of(const int32_t *starts, int groups, int thread, int threads) {
  int64_t total = starts[groups] + 8LL * groups;
  range r = {0, groups};
  while (r.begin < groups && (starts[r.begin] + 8LL * r.begin) * threads < total * thread) r.begin++;
  r.end = r.begin;
  while (r.end < groups && (starts[r.end] + 8LL * r.end) * threads < total * (thread + 1)) r.end++;
  return r;
}

/* The outputs of a thread's own row groups, whole: cheaper than every gap of a small plane. */
#define SMALL_PLANE 512
static void zero_planes_of(const context *c, const conv_step *s, const int32_t *rows, range groups) {
  if (!s->out->halo) return;
  FOR_IMAGES(c)
    for (int i = groups.begin * s->filters; i < groups.end * s->filters; i++)
      if (rows[i] >= 0) zero_floats(plane_of(c, s->out, n, rows[i]), s->out->plane);
}

static void f32_conv(const context *c, const void *step, int thread, int threads) {
  const conv_step *s = step;
  conv_pointers p = {
      .rows = in_blob(c, s->rows), .starts = in_blob(c, s->starts),
      .weight_starts = in_blob(c, s->weight_starts), .counts = in_blob(c, s->counts), .indices = in_blob(c, s->indices),
      .weights = in_blob(c, s->weights), .bias = in_blob(c, s->bias), .mask = in_blob(c, s->mask)};
  int tiles = s->strips / s->tile_strips;
  range groups = {0, s->groups}, mine = {0, tiles};
  int by_pixels = tiles >= 4 * threads;
  if (by_pixels) mine = share_of(tiles, thread, threads);
  else groups = groups_of(p.starts, s->groups, thread, threads);
  if (s->out->plane <= SMALL_PLANE && (threads == 1 || !by_pixels)) zero_planes_of(c, s, p.rows, groups);
  else if (s->by_rows) zero_around_all_rows(c, s->out, thread, threads);
  else zero_around_interior(c, s->out, thread, threads);
  range full = {mine.begin * s->tile_strips, mine.end * s->tile_strips}, rest = {tiles * s->tile_strips, s->strips};
  FOR_IMAGES(c) {
    p.in = row_of(c, s->in, n, 0, 0) + s->base;
    p.out = row_of(c, s->out, n, 0, 0);
    p.residual = s->residual ? row_of(c, s->residual, n, 0, 0) : 0;
    s->full(s, &p, groups, full);
    if (rest.begin < rest.end && (!by_pixels || thread == threads - 1)) s->tail(s, &p, groups, rest);
  }
}

#endif
