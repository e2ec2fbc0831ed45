/* LSTM and GRU layers: in every step of time the packed product with h (linear.h), then the gates, elementwise.
 *
 *   LSTM  c = sigmoid(f) * c + sigmoid(i) * tanh(n),  h = sigmoid(o) * tanh(c)
 *   GRU   h = (1 - sigmoid(z)) * tanh(n) + sigmoid(z) * h
 *
 * All threads share the rows of the product, wait for each other, share the units, and wait again. */
#ifndef PMAP_RECURRENT_H
#define PMAP_RECURRENT_H

#include "linear.h"
#include "math.h"
#include "strided.h"

enum { LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE };

typedef struct {
  linear_step product, candidate; /* of h; GRU_RESET_BEFORE: of h in z and r, then of r * h in n */
  const tensor *given, *first_h, *first_c, *h, *c, *gates, *out;
  int32_t kind, steps, items, hidden, reverse;
  int64_t peepholes; /* 3 x hidden: of c in i, o, f */
} recurrent_step;

/* What the units of a stretch of one item read and write; g: sums of the product, x: of the inputs. */
typedef struct {
  const float *x, *g, *peepholes;
  float *h, *c, *reset, *out;
  int hidden;
} units;

/* State of the units from p on: behind them lies that of another item, which another thread may be writing. */
INLINE vfloat load_units(const float *p, int count) {
  if (count >= LANES) return v_load(p);
  vfloat v = v_zero;
  for (int i = 0; i < count; i++) v[i] = p[i];
  return v;
}
INLINE void store_unit(float *p, vfloat v, int count) {
  if (count >= LANES) v_store(p, v);
  else v_store_some(p, v, 1, count);
}

INLINE vfloat gate(const units *u, int which, int i) {
  return v_load(u->x + which * u->hidden + i) + v_load(u->g + which * u->hidden + i);
}
INLINE vfloat peephole(const units *u, int which, int i, vfloat c) {
  if (!u->peepholes) return v_zero;
  return v_load(u->peepholes + which * u->hidden + i) * c;
}

INLINE void lstm_units(const units *u, int i, int count) {
  vfloat c = load_units(u->c + i, count), old = c;
  c = v_sigmoid(gate(u, 2, i) + peephole(u, 2, i, old)) * old +
      v_sigmoid(gate(u, 0, i) + peephole(u, 0, i, old)) * v_tanh(gate(u, 3, i));
  vfloat h = v_sigmoid(gate(u, 1, i) + peephole(u, 1, i, c)) * v_tanh(c);
  store_unit(u->c + i, c, count), store_unit(u->h + i, h, count);
  store_unit(u->out + i, h, count), store_unit(u->out + u->hidden + i, c, count);
}

INLINE void gru_units(const units *u, int i, int count, int reset_after) {
  vfloat z = v_sigmoid(gate(u, 0, i)), old = load_units(u->h + i, count), after = v_load(u->g + 2 * u->hidden + i);
  if (reset_after) after *= v_sigmoid(gate(u, 1, i));
  vfloat n = v_tanh(v_load(u->x + 2 * u->hidden + i) + after), h = (v_splat(1) - z) * n + z * old;
  store_unit(u->h + i, h, count), store_unit(u->out + i, h, count);
}

/* r * h, to be multiplied for the candidate. */
INLINE void reset_units(const units *u, int i, int count) {
  store_unit(u->reset + i, v_sigmoid(gate(u, 1, i)) * load_units(u->h + i, count), count);
}

static void recurrent_units(const context *c, const recurrent_step *s, int t, int resets, int thread, int threads) {
  int hidden = s->hidden, gates = s->kind == LSTM ? 4 : 3, states = s->kind == LSTM ? 2 : 1;
  int stretches = (hidden + LANES - 1) / LANES;
  range work = share_of(s->items * stretches, thread, threads);
  for (int w = work.begin; w < work.end; w++) {
    int item = w / stretches, i = w % stretches * LANES, count = hidden - i;
    int64_t row = (int64_t)t * s->items + item;
    units u = {.x = row_of(c, s->given, 0, 0, 0) + row * gates * hidden,
               .g = row_of(c, s->gates, 0, 0, 0) + (int64_t)item * gates * hidden,
               .peepholes = in_blob(c, s->peepholes),
               .h = row_of(c, s->h, 0, 0, 0) + (int64_t)item * hidden,
               .c = s->c ? row_of(c, s->c, 0, 0, 0) + (int64_t)item * hidden : 0,
               .out = row_of(c, s->out, 0, 0, 0) + row * states * hidden,
               .hidden = hidden};
    u.reset = u.c;
    if (resets) reset_units(&u, i, count);
    else if (s->kind == LSTM) lstm_units(&u, i, count);
    else gru_units(&u, i, count, s->kind == GRU_RESET_AFTER);
  }
}

/* One product: its sums go to the gates from row `first` on. */
static void recurrent_product(const context *c, const linear_step *s, int items, int first, int thread, int threads) {
  conv_pointers p = {.in = row_of(c, s->in, 0, 0, 0), .out = row_of(c, s->out, 0, 0, 0) + first};
  linear_share(c, s, p, (range){0, items}, thread, threads);
  c->wait(c->engine);
}

static void f32_recurrent(const context *c, const void *step, int thread, int threads) {
  const recurrent_step *s = step;
  if (thread == 0) {
    size_t bytes = sizeof(float) * (size_t)s->items * (size_t)s->hidden;
    memcpy(row_of(c, s->h, 0, 0, 0), start_of_row(c, s->first_h), bytes);
    if (s->first_c) memcpy(row_of(c, s->c, 0, 0, 0), start_of_row(c, s->first_c), bytes);
  }
  c->wait(c->engine);
  for (int k = 0; k < s->steps; k++) {
    int t = s->reverse ? s->steps - 1 - k : k;
    recurrent_product(c, &s->product, s->items, 0, thread, threads);
    if (s->kind == GRU_RESET_BEFORE) {
      recurrent_units(c, s, t, 1, thread, threads);
      c->wait(c->engine);
      recurrent_product(c, &s->candidate, s->items, 2 * s->hidden, thread, threads);
    }
    recurrent_units(c, s, t, 0, thread, threads);
    c->wait(c->engine);
  }
}

#endif
