/* Picking and putting at computed places. An index below 0 counts from the end; one outside is brought to the nearest
 * place inside: a wrong index gives a wrong value, never a read or write outside of the tensor. */
#ifndef PMAP_GATHER_H
#define PMAP_GATHER_H

#include "strided.h"

/* The element at p of the space has its tuple of `count` indices from `indices` on, `index_stride` apart; they address
 * axes of `sizes` with `strides` of the tensor that is indexed. */
typedef struct {
  space space;
  operand out, in, indices;
  int32_t count, reduction, integers;
  int64_t index_stride;
  int32_t sizes[AXES];
  int64_t strides[AXES];
} gather_step;

INLINE int64_t indexed_offset(const gather_step *s, const float *index) {
  int64_t offset = 0;
  for (int i = 0; i < s->count; i++) {
    int32_t at;
    memcpy(&at, index + i * s->index_stride, 4);
    at += at < 0 ? s->sizes[i] : 0;
    at = at < 0 ? 0 : at >= s->sizes[i] ? s->sizes[i] - 1 : at;
    offset += at * s->strides[i];
  }
  return offset;
}

static void f32_gather(const context *c, const void *step, int thread, int threads) {
  const gather_step *s = step;
  int last = s->space.axes - 1, n = s->space.sizes[last];
  const float *in = start_of(c, &s->in), *indices = start_of(c, &s->indices);
  float *out = start_of(c, &s->out);
  int64_t to_stride = s->out.strides[last], from_stride = s->in.strides[last], index_stride = s->indices.strides[last];
  FOR_PLACES(&s->space, last, p) {
    float *to = out + offset_of(&p, last, s->out.strides);
    const float *from = in + offset_of(&p, last, s->in.strides);
    const float *index = indices + offset_of(&p, last, s->indices.strides);
    if (index_stride == 0) {
      from += indexed_offset(s, index);
      for (int i = 0; i < n; i++) to[i * to_stride] = from[i * from_stride];
    } else {
      for (int i = 0; i < n; i++)
        to[i * to_stride] = from[i * from_stride + indexed_offset(s, index + i * index_stride)];
    }
  }
}

enum { PUT, PUT_SUM, PUT_PRODUCT, PUT_LARGEST, PUT_SMALLEST };

INLINE void put_float(float *to, float update, int reduction) {
  switch (reduction) {
    case PUT_SUM: *to += update; break;
    case PUT_PRODUCT: *to *= update; break;
    case PUT_LARGEST: *to = update > *to ? update : *to; break;
    default: *to = update < *to ? update : *to;
  }
}

/* Sums and products wrap. */
INLINE void put_integer(float *to, const float *from, int reduction) {
  int32_t old, update;
  memcpy(&old, to, 4);
  memcpy(&update, from, 4);
  switch (reduction) {
    case PUT_SUM: old = (int32_t)((uint32_t)old + (uint32_t)update); break;
    case PUT_PRODUCT: old = (int32_t)((uint32_t)old * (uint32_t)update); break;
    case PUT_LARGEST: old = update > old ? update : old; break;
    default: old = update < old ? update : old;
  }
  memcpy(to, &old, 4);
}

/* In the order of the updates, by one thread: places may repeat. `in`: the updates. */
static void f32_scatter(const context *c, const void *step, int thread, int threads) {
  const gather_step *s = step;
  (void)threads;
  if (thread) return;
  int64_t count = count_places(&s->space, s->space.axes);
  place p = {{0}};
  for (int64_t i = 0; i < count; i++, next_place(&s->space, s->space.axes, &p)) {
    const float *index = start_of(c, &s->indices) + offset_of(&p, s->space.axes, s->indices.strides);
    float *to = start_of(c, &s->out) + offset_of(&p, s->space.axes, s->out.strides) + indexed_offset(s, index);
    const float *from = start_of(c, &s->in) + offset_of(&p, s->space.axes, s->in.strides);
    if (s->reduction == PUT)
      memcpy(to, from, 4);
    else if (s->integers)
      put_integer(to, from, s->reduction);
    else
      put_float(to, *from, s->reduction);
  }
}

#endif
