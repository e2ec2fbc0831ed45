/* Tensors of any rank and layout as places in memory: a start and one stride per axis of what a step walks over. The
 * lowering joins neighbouring axes where all operands allow it. */
#ifndef PMAP_STRIDED_H
#define PMAP_STRIDED_H

#include "program.h"

#define AXES 8

/* What a step walks over, outermost axis first. */
typedef struct {
  int32_t axes, sizes[AXES];
} space;

/* Where a tensor's element lies for a place in the space, in floats; stride 0 = the same for the whole axis. */
typedef struct {
  const tensor *tensor;
  int64_t offset, strides[AXES];
} operand;

INLINE float *start_of_row(const context *c, const tensor *t) {
  return (t->constant ? (float *)c->blob : c->arena) + t->at + t->origin;
}
INLINE float *start_of(const context *c, const operand *o) { return start_of_row(c, o->tensor) + o->offset; }

INLINE int64_t rows_of(const space *s) { /* all but the last axis */
  int64_t rows = 1;
  for (int i = 0; i + 1 < s->axes; i++) rows *= s->sizes[i];
  return rows;
}

/* A place: one index per axis. */
typedef struct {
  int32_t index[AXES];
} place;

/* The `number`-th place of the first `axes` axes, in row-major order. */
INLINE place place_at(const space *s, int axes, int64_t number) {
  place p = {{0}};
  for (int i = axes - 1; i >= 0; i--) p.index[i] = (int32_t)(number % s->sizes[i]), number /= s->sizes[i];
  return p;
}
INLINE void next_place(const space *s, int axes, place *p) {
  for (int i = axes - 1; i >= 0 && ++p->index[i] == s->sizes[i]; i--) p->index[i] = 0;
}
INLINE int64_t offset_of(const place *p, int axes, const int64_t *strides) {
  int64_t offset = 0;
  for (int i = 0; i < axes; i++) offset += p->index[i] * strides[i];
  return offset;
}

/* A thread's share of the places of the first `axes_` axes: `p` is the place. */
#define FOR_PLACES(s, axes_, p)                                                                                   \
  range r_##p = share_of(count_places(s, axes_), thread, threads);                                                \
  place p = place_at(s, axes_, r_##p.begin);                                                                      \
  for (int64_t i_##p = r_##p.begin; i_##p < r_##p.end; i_##p++, next_place(s, axes_, &p))

INLINE int64_t count_places(const space *s, int axes) {
  int64_t count = 1;
  for (int i = 0; i < axes; i++) count *= s->sizes[i];
  return count;
}

/* Four bytes as they are: a float, an int or a bool. */
INLINE vfloat v_splat_bits(const float *p) {
  int32_t bits;
  memcpy(&bits, p, 4);
  return (vfloat)((vint){0} + bits);
}
INLINE vfloat v_load_strided(const float *p, int64_t stride) {
  vfloat v;
  UNROLL for (int i = 0; i < LANES; i++) v[i] = p[i * stride];
  return v;
}
INLINE void v_store_some(float *p, vfloat v, int64_t stride, int count) {
  float lanes[LANES];
  v_store(lanes, v);
  for (int i = 0; i < count; i++) p[i * stride] = lanes[i];
}

/* --- zeros around the rows of all images of a map, for steps that write its elements one by one -------------------- */
typedef struct {
  const tensor *map;
  int32_t images;
} zero_halo_step;

static void f32_zero_halo(const context *c, const void *step, int thread, int threads) {
  const zero_halo_step *s = step;
  context all = *c;
  all.images = (range){0, s->images};
  zero_around_all_rows(&all, s->map, thread, threads);
}

#endif
