/* Elementwise expressions of broadcast operands; elementwise_tile.h is compiled once per expression. */
#ifndef PMAP_ELEMENTWISE_H
#define PMAP_ELEMENTWISE_H

#include "math.h"
#include "strided.h"

#define OPERANDS 6
#define STRETCH 1024 /* of a long row, what a thread takes at a time */

typedef struct elementwise_step elementwise_step;
typedef void (*elementwise_kernel)(const context *c, const elementwise_step *s, int thread, int threads);

struct elementwise_step {
  elementwise_kernel kernel;
  space space;
  operand out, in[OPERANDS];
};

static void f32_elementwise(const context *c, const void *step, int thread, int threads) {
  const elementwise_step *s = step;
  s->kernel(c, s, thread, threads);
}

#endif
