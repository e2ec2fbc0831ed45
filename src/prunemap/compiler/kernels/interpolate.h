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

static void f32_interpolate(const context *c, const void *step, int thread, int threads) {
  const interpolate_step *s = step;
  int last = s->space.axes - 1, n = s->space.sizes[last], size = s->space.sizes[s->axis];
  const int32_t *places = in_blob(c, s->places);
  const float *weights = in_blob(c, s->weights), *in = start_of(c, &s->in);
  int64_t to_stride = s->out.strides[last], from_stride = s->in.strides[last];
  FOR_PLACES(&s->space, last, p) {
    float *to = start_of(c, &s->out) + offset_of(&p, last, s->out.strides);
    const float *from = in + offset_of(&p, last, s->in.strides);
    int along_row = s->axis == last;
    for (int i = 0; i < n; i++) {
      int at = along_row ? i : p.index[s->axis];
      float sum = 0;
      for (int k = 0; k < s->taps; k++)
        sum += weights[k * size + at] * from[places[k * size + at] + (along_row ? 0 : i * from_stride)];
      to[i * to_stride] = sum;
    }
  }
}

#endif
