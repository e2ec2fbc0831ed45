/* What a generated program is made of: tensors in an arena, weights in a read-only blob, steps that run in order.
 * Offsets into the arena count floats, offsets into the blob count bytes; NONE = not there. */
#ifndef PMAP_PROGRAM_H
#define PMAP_PROGRAM_H

#include "simd.h"

#define NONE (-1)

/* A tensor of channel planes; element (n, c, y, x) lies at arena[at + n*image + c*plane + origin + y*pitch + x].
 * `image` is 0 where the images of a batch take turns in the memory of one. `interior` floats from the origin are
 * written by pixel-lane kernels; `halo`: zeros are needed around the rows; `constant`: it lies in the blob, not in the
 * arena. */
typedef struct {
  int64_t at, image;
  int32_t channels, height, width, pitch, origin, plane, interior, halo, constant;
} tensor;

typedef struct {
  int64_t begin, end;
} range;

typedef struct {
  void (*wait)(void *engine); /* until all threads are here */
  void *engine;
  range images; /* that the steps are to run for */
  float *arena, *scratch; /* scratch: scratch_floats for each thread */
  int64_t scratch_floats;
  const uint8_t *blob;
  const float *const *inputs;
  float *const *outputs;
} context;

typedef struct {
  void (*run)(const context *c, const void *step, int thread, int threads);
  const void *step;
  int32_t slot; /* which of the program's timed slots its time is added to */
} program_step;

/* Consecutive steps that run for `at_once` of the images, then for the next ones. */
typedef struct {
  int32_t steps, images, at_once;
} image_loop;

INLINE float *plane_of(const context *c, const tensor *t, int image, int channel) {
  return c->arena + t->at + image * t->image + (int64_t)channel * t->plane;
}
INLINE float *row_of(const context *c, const tensor *t, int image, int channel, int y) {
  return plane_of(c, t, image, channel) + t->origin + (int64_t)y * t->pitch;
}
INLINE const void *in_blob(const context *c, int64_t at) { return at == NONE ? 0 : c->blob + at; }

/* The share [begin, end) of `count` equal pieces of work that falls to a thread. */
INLINE range share_of(int64_t count, int thread, int threads) {
  range r = {count * thread / threads, count * (thread + 1) / threads};
  return r;
}

#define FOR_IMAGES(c) for (int n = (c)->images.begin; n < (c)->images.end; n++)

/* A thread's share of the planes (n, ch) of the images that are run. */
#define FOR_PLANES(c, t)                                                                                         \
  range planes_ = share_of(((c)->images.end - (c)->images.begin) * (t)->channels, thread, threads);              \
  for (int i_ = planes_.begin, n, ch;                                                                            \
       i_ < planes_.end && (n = (c)->images.begin + i_ / (t)->channels, ch = i_ % (t)->channels, 1); i_++)

/* Zero a few floats: there are many such places, and a call costs more than most of them (build.py keeps the compiler
 * from making one). */
INLINE void zero_floats(float *p, int count) {
  int i = 0;
  for (; i + LANES <= count; i += LANES) v_store(p + i, (vfloat){0});
  for (; i < count; i++) p[i] = 0;
}

/* Zero a plane outside its interior: for kernels that write whole interiors, with the columns between rows masked. */
INLINE void zero_around_plane_interior(const tensor *t, float *plane) {
  if (!t->halo) return;
  zero_floats(plane, t->origin);
  int end = t->origin + t->interior;
  zero_floats(plane + end, t->plane - end);
}

static void zero_around_interior(const context *c, const tensor *t, int thread, int threads) {
  if (!t->halo) return; /* of vectors, every element is a plane */
  FOR_PLANES(c, t) zero_around_plane_interior(t, plane_of(c, t, n, ch));
}

/* Zero a plane outside its rows: for kernels that write row by row. */
INLINE void zero_around_rows(const tensor *t, float *plane) {
  if (!t->halo) return;
  zero_floats(plane, t->origin);
  for (int y = 0; y + 1 < t->height; y++)
    zero_floats(plane + t->origin + y * t->pitch + t->width, t->pitch - t->width);
  int end = t->origin + (t->height - 1) * t->pitch + t->width;
  zero_floats(plane + end, t->plane - end);
}

static void zero_around_all_rows(const context *c, const tensor *t, int thread, int threads) {
  if (!t->halo) return;
  FOR_PLANES(c, t) zero_around_rows(t, plane_of(c, t, n, ch));
}

#endif
