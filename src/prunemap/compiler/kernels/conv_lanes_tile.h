/* The other family of conv.h: filters in the lanes, for maps that do not fill vectors of pixels. One register tile is
 * ROWS x COLS pixels x FILTERS lanes: a unit loads its FILTERS weights once, every pixel is broadcast. Included once per
 * tile with NAME, FILTERS, ROWS, COLS and INDEX defined. A strip is an output row; COLS divides the width. */
INLINE void NAME(_tile)(const conv_step *s, const conv_pointers *p, int group, int64_t place) {
  typedef float lanes __attribute__((vector_size(FILTERS * 4), aligned(4), may_alias));
  lanes acc[ROWS][COLS] = {0};
  int pitch = s->out->pitch;
  const float *x = p->in + place, *w = p->weights + (int64_t)p->starts[group] * FILTERS;
  const INDEX *steps = (const INDEX *)p->indices;
  for (int u = p->starts[group]; u < p->starts[group + 1]; u++, w += FILTERS) {
    x += steps[u];
    lanes weight = *(const lanes *)w;
    UNROLL for (int r = 0; r < ROWS; r++)
      UNROLL for (int c = 0; c < COLS; c++) acc[r][c] += weight * x[(int64_t)r * pitch + c];
  }
  float pixels[ROWS * COLS][FILTERS];
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int c = 0; c < COLS; c++) *(lanes *)pixels[r * COLS + c] = acc[r][c];
  for (int f = 0; f < FILTERS; f++) {
    int row = p->rows[group * FILTERS + f];
    if (row < 0) continue;
    float bias = p->bias[group * FILTERS + f], *out = p->out + (int64_t)row * s->out->plane + place;
    const float *residual = p->residual ? p->residual + (int64_t)row * s->residual->plane + place : 0;
    for (int r = 0; r < ROWS; r++)
      for (int c = 0; c < COLS; c++) {
        float y = pixels[r * COLS + c][f] + bias;
        if (residual) y += residual[(int64_t)r * pitch + c];
        out[(int64_t)r * pitch + c] = f_clamp(y, s->low, s->high);
      }
  }
}

static void NAME()(const conv_step *s, const conv_pointers *p, range groups, range strips) {
  int pitch = s->out->pitch, width = s->out->width;
  if (s->pixels_outer) {
    for (int y = strips.begin; y < strips.end; y += ROWS)
      for (int x = 0; x < width; x += COLS)
        for (int g = groups.begin; g < groups.end; g++) NAME(_tile)(s, p, g, (int64_t)y * pitch + x);
  } else {
    for (int g = groups.begin; g < groups.end; g++)
      for (int y = strips.begin; y < strips.end; y += ROWS)
        for (int x = 0; x < width; x += COLS) NAME(_tile)(s, p, g, (int64_t)y * pitch + x);
  }
}
#undef NAME
#undef FILTERS
#undef ROWS
#undef COLS
#undef INDEX
