/* Linear layers, filters in the lanes: the step and the share of a thread; linear_tile.h has the kernel.
 *
 *   y[rows[g][f]] = clamp(bias[g][f] + sum_u weight[u][f] * x[index[u]]  (+ residual[rows[g][f]])) */
#ifndef PMAP_LINEAR_H
#define PMAP_LINEAR_H

#include "conv.h"

typedef struct linear_step linear_step;
typedef void (*linear_group)(const linear_step *s, const conv_pointers *p, int group);

struct linear_step {
  const tensor *in, *out, *residual;
  linear_group kernel;
  int32_t groups;
  int64_t rows, starts, indices, weights, bias;
  float low, high;
};

static void f32_linear(const context *c, const void *step, int thread, int threads) {
  const linear_step *s = step;
  zero_around_interior(c, s->out, thread, threads);
  conv_pointers p = {.rows = in_blob(c, s->rows), .starts = in_blob(c, s->starts), .indices = in_blob(c, s->indices),
                     .weights = in_blob(c, s->weights), .bias = in_blob(c, s->bias)};
  range groups = groups_of(p.starts, s->groups, thread, threads);
  FOR_IMAGES(c) {
    p.in = row_of(c, s->in, n, 0, 0);
    p.out = row_of(c, s->out, n, 0, 0);
    p.residual = s->residual ? row_of(c, s->residual, n, 0, 0) : 0;
    for (int g = groups.begin; g < groups.end; g++) s->kernel(s, &p, g);
  }
}

#endif
