/* y = sum_k weight[k][i] * x at place[k][i] along one axis. */
#ifndef PMAP_INTERPOLATE_H
#define PMAP_INTERPOLATE_H

#include "strided.h"

typedef struct {
  space space; /* of the result; `axis` is one of its axes */
  operand out, in; /* `in` does not move along `axis`: */
  int32_t axis, taps;
  int64_t places, weights; /* (taps, size of the axis): offsets in floats; factors */
} interpolate_step;

/* A row along which the places differ. */
INLINE void interpolate_along(const interpolate_step *s, const int32_t *places, const float *weights, const float *from,
                              float *to, int n, int64_t to_stride) {
  for (int i = 0; i < n; i++) {
    float sum = weights[i] * from[places[i]];
    for (int k = 1; k < s->taps; k++) sum += weights[k * n + i] * from[places[k * n + i]];
    to[i * to_stride] = sum;
  }
}

/* A row across them: a sum of whole rows. */
INLINE void interpolate_across(const interpolate_step *s, const int32_t *places, const float *weights, const float *from,
                               float *to, int n, int size, int at) {
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
    vfloat sum = v_load(from + places[at] + i) * weights[at];
    for (int k = 1; k < s->taps; k++) sum += v_load(from + places[k * size + at] + i) * weights[k * size + at];
    v_store(to + i, sum);
  }
  for (; i < n; i++) {
    to[i] = 0;
    for (int k = 0; k < s->taps; k++) to[i] += from[places[k * size + at] + i] * weights[k * size + at];
  }
}

static void f32_interpolate(const context *c, const void *step, int thread, int threads) {
  const interpolate_step *s = step;
  int last = s->space.axes - 1, n = s->space.sizes[last], size = s->space.sizes[s->axis];
  const int32_t *places = in_blob(c, s->places);
  const float *weights = in_blob(c, s->weights), *in = start_of(c, &s->in);
  int64_t to_stride = s->out.strides[last], from_stride = s->in.strides[last];
  int in_rows = to_stride == 1 && from_stride == 1;
  FOR_PLACES(&s->space, last, p) {
    float *to = start_of(c, &s->out) + offset_of(&p, last, s->out.strides);
    const float *from = in + offset_of(&p, last, s->in.strides);
    int at = s->axis == last ? 0 : p.index[s->axis];
    if (s->axis == last) interpolate_along(s, places, weights, from, to, n, to_stride);
    else if (in_rows) interpolate_across(s, places, weights, from, to, n, size, at);
    else
      for (int i = 0; i < n; i++) {
        float sum = 0;
        for (int k = 0; k < s->taps; k++) sum += weights[k * size + at] * from[places[k * size + at] + i * from_stride];
        to[i * to_stride] = sum;
      }
  }
}

#endif
