/* Functions of vectors without a C library and, but for a few large values, without branches: polynomials (for exp,
 * log, sin and cos after the Cephes library, S. Moshier; else fitted to the least largest error) and Cody and Waite's
 * range reduction. At most 4 units in the last place away from the true value, unless said otherwise. NaN stays NaN;
 * numbers below 2^-126 count as zero. */
#ifndef PMAP_MATH_H
#define PMAP_MATH_H

#include "simd.h"

typedef uint32_t vuint __attribute__((vector_size(LANES * 4), aligned(4)));
typedef double vdouble __attribute__((vector_size(LANES * 8), aligned(8)));
typedef int64_t vlong __attribute__((vector_size(LANES * 8), aligned(8)));
typedef uint64_t vulong __attribute__((vector_size(LANES * 8), aligned(8)));

#define v_zero ((vfloat){0})
#define v_int_zero ((vint){0})
INLINE vint v_splat_int(int32_t x) { return v_int_zero + x; }
INLINE vint v_int_select(vint mask, vint a, vint b) { return (mask & a) | (~mask & b); }
/* Sums and products wrap. */
INLINE vint v_int_add(vint a, vint b) { return (vint)((vuint)a + (vuint)b); }
INLINE vint v_int_sub(vint a, vint b) { return (vint)((vuint)a - (vuint)b); }
INLINE vint v_int_mul(vint a, vint b) { return (vint)((vuint)a * (vuint)b); }
INLINE vint v_int_neg(vint a) { return v_int_sub(v_int_zero, a); }
INLINE vfloat v_abs(vfloat x) { return (vfloat)((vint)x & v_splat_int(0x7fffffff)); }
INLINE vfloat v_with_sign_of(vfloat x, vfloat sign) {
  return (vfloat)(((vint)x & v_splat_int(0x7fffffff)) | ((vint)sign & v_splat_int(INT32_MIN)));
}
INLINE vfloat v_not_a_number(void) { return v_splat(__builtin_nanf("")); }
INLINE vfloat v_infinity(void) { return v_splat(__builtin_inff()); }
/* NaN where either is, as in NumPy. */
INLINE vfloat v_max(vfloat a, vfloat b) { return v_select((a > b) | (a != a), a, b); }
INLINE vfloat v_min(vfloat a, vfloat b) { return v_select((a < b) | (a != a), a, b); }

#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_sqrt)
#define PMAP_ELEMENTWISE_SQRT
#endif
#endif
INLINE vfloat v_sqrt(vfloat x) {
#ifdef PMAP_ELEMENTWISE_SQRT
  return __builtin_elementwise_sqrt(x);
#else
  vfloat y;
  UNROLL for (int i = 0; i < LANES; i++) y[i] = __builtin_sqrtf(x[i]);
  return y;
#endif
}

/* --- whole numbers ---------------------------------------------------------------------------------------------- */
INLINE vfloat v_round(vfloat x) { /* half to even: what adding and taking away 2^23 leaves */
  vfloat big = v_splat(8388608.0f), a = v_abs(x);
  return v_with_sign_of(v_select(a < big, (a + big) - big, a), x);
}
INLINE vfloat v_floor(vfloat x) {
  vfloat r = v_round(x);
  return v_with_sign_of(r - (vfloat)((vint)v_splat(1) & (r > x)), x);
}
INLINE vfloat v_ceil(vfloat x) { return -v_floor(-x); }
INLINE vfloat v_sign(vfloat x) { return v_select((x < v_zero) | (x > v_zero), v_with_sign_of(v_splat(1), x), x); }
INLINE vfloat v_to_float(vint x) { return __builtin_convertvector(x, vfloat); }
/* Cut off towards zero; to the nearest that there is where it does not fit, 0 for NaN. */
INLINE vint v_to_int(vfloat x) {
  vint high = x >= v_splat(2147483648.0f), fits = (x >= v_splat(-2147483648.0f)) & ~high;
  vint y = __builtin_convertvector((vfloat)((vint)x & fits), vint);
  y = v_int_select(high, v_splat_int(INT32_MAX), y);
  return v_int_select(x < v_splat(-2147483648.0f), v_splat_int(INT32_MIN), y);
}

/* --- exponentials and logarithms -------------------------------------------------------------------------------- */
/* e^x = (1 + rest) * 2^n, as (rest, n << 23); |x| <= 88, beyond which both are meaningless; a NaN stays in the rest. */
typedef struct { vfloat rest; vuint shift; } v_power;
INLINE v_power v_power_of(vfloat x) {
  vfloat magic = v_splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number, in the last bits */
  vfloat shifted = x * v_splat(1.44269504088896341f) + magic, n = shifted - magic;
  vfloat r = x - n * v_splat(0.693359375f) + n * v_splat(2.12194440e-4f);
  vfloat p = v_splat(1.9875691500e-4f);
  p = p * r + v_splat(1.3981999507e-3f);
  p = p * r + v_splat(8.3334519073e-3f);
  p = p * r + v_splat(4.1665795894e-2f);
  p = p * r + v_splat(1.6666665459e-1f);
  p = p * r + v_splat(5.0000001201e-1f);
  return (v_power){p * (r * r) + r, (vuint)shifted << 23};
}
INLINE vfloat v_exp(vfloat x) {
  v_power e = v_power_of(x);
  vfloat y = (vfloat)((vuint)(v_splat(1) + e.rest) + e.shift);
  y = v_select(x <= v_splat(88.7228317f), y, x + v_infinity());
  return v_select(x < v_splat(-87.3365402f), v_zero, y);
}
INLINE vfloat v_exp_clamped(vfloat x) { /* of x in -87 .. 88, or the nearer end */
  v_power e = v_power_of(v_clamp(x, -87, 88));
  vfloat scale = (vfloat)((vuint)v_splat(1) + e.shift);
  return scale + scale * e.rest;
}
INLINE vfloat v_expm1(vfloat x) { /* e^x - 1 for x <= 0 */
  vfloat low = v_splat(-80);
  v_power e = v_power_of(v_select(x < low, low, x));
  vfloat scale = (vfloat)((vuint)v_splat(1) + e.shift);
  return scale * e.rest + (scale - v_splat(1));
}

/* A positive number is mantissa * 2^exponent with a mantissa in [sqrt(1/2), sqrt(2)). */
INLINE vint v_exponent(vfloat x) { return v_int_sub((vint)x, v_splat_int(0x3f3504f3)) >> 23; }
INLINE vfloat v_mantissa(vfloat x, vint exponent) { return (vfloat)((vuint)x - ((vuint)exponent << 23)); }

INLINE vfloat v_log(vfloat x) {
  vint e = v_exponent(x);
  vfloat m = v_mantissa(x, e) - v_splat(1), n = v_to_float(e), z = m * m;
  vfloat p = v_splat(7.0376836292e-2f);
  p = p * m + v_splat(-1.1514610310e-1f);
  p = p * m + v_splat(1.1676998740e-1f);
  p = p * m + v_splat(-1.2420140846e-1f);
  p = p * m + v_splat(1.4249322787e-1f);
  p = p * m + v_splat(-1.6668057665e-1f);
  p = p * m + v_splat(2.0000714765e-1f);
  p = p * m + v_splat(-2.4999993993e-1f);
  p = p * m + v_splat(3.3333331174e-1f);
  vfloat y = p * m * z + n * v_splat(-2.12194440e-4f) - z * v_splat(0.5f);
  y = m + y + n * v_splat(0.693359375f);
  vfloat smallest = v_splat(1.17549435e-38f), special = v_select(x <= -smallest, v_not_a_number(), x);
  special = v_select(v_abs(x) < smallest, -v_infinity(), special);
  return v_select((x >= smallest) & (x < v_infinity()), y, special);
}

/* --- activations ------------------------------------------------------------------------------------------------- */
INLINE vfloat v_sigmoid(vfloat x) { return v_splat(1) / (v_splat(1) + v_exp_clamped(-x)); }

INLINE vfloat v_tanh(vfloat x) {
  vfloat t = v_expm1(v_abs(x) * v_splat(-2));
  return v_with_sign_of(t / (t + v_splat(2)), x);
}

INLINE vfloat v_softplus(vfloat x) { /* max(x, 0) + log(1 + e), and log(1 + e) = 2 artanh(s) */
  vfloat e = v_exp(-v_abs(x)), s = e / (e + v_splat(2)), z = s * s;
  vfloat p = v_splat(2.430093373e-1f);
  p = p * z + v_splat(2.142765826e-1f);
  p = p * z + v_splat(2.861688474e-1f);
  p = p * z + v_splat(3.999887775e-1f);
  p = p * z + v_splat(6.666667562e-1f);
  return v_max(x, v_zero) + (p * z * s + (s + s));
}

INLINE vfloat v_log_erfc(vfloat a) { /* log(1 - erf(a)) for 0 <= a; only falling from 4.5 on */
  vfloat p = v_splat(-7.59042683e-9f);
  p = p * a + v_splat(2.62132895e-7f);
  p = p * a + v_splat(-4.02328718e-6f);
  p = p * a + v_splat(3.62552360e-5f);
  p = p * a + v_splat(-2.11916885e-4f);
  p = p * a + v_splat(8.20205663e-4f);
  p = p * a + v_splat(-1.88567136e-3f);
  p = p * a + v_splat(3.08464666e-4f);
  p = p * a + v_splat(1.90980176e-2f);
  p = p * a + v_splat(-1.02767888e-1f);
  p = p * a + v_splat(-6.36620048e-1f);
  p = p * a + v_splat(-1.12837916f);
  return p * a;
}
INLINE vfloat v_erf(vfloat x) { return v_with_sign_of(v_expm1(v_log_erfc(v_abs(x))), x); }

INLINE vfloat v_gelu(vfloat x) { /* x * (1 + erf(x / sqrt(2))) / 2, without cancelling; within 2e-7 of it below 0 */
  vfloat half = v_splat(0.5f) * v_exp(v_log_erfc(v_abs(x) * v_splat(0.70710678118654752f)));
  return x * v_select(x < v_zero, half, v_splat(1) - half);
}
INLINE vfloat v_gelu_tanh(vfloat x) { /* (1 + tanh(u)) / 2 = 1 / (1 + e^-2u) */
  vfloat minus_2u = x * (v_splat(-1.5957691216f) + x * x * v_splat(-0.07135481282f));
  return x / (v_splat(1) + v_exp(minus_2u));
}
INLINE vfloat v_mish(vfloat x) { /* tanh(log(1 + e^x)) = n / (n + 2) with n = e^2x + 2 e^x */
  vfloat e = v_exp(v_select(x > v_splat(30), v_splat(30), x)), n = e * e + (e + e);
  return x * (n / (n + v_splat(2)));
}
INLINE vfloat v_hard_sigmoid(vfloat x, vfloat alpha, vfloat beta) {
  return v_max(v_zero, v_min(v_splat(1), x * alpha + beta));
}
INLINE vfloat v_hard_swish(vfloat x) { return x * (v_clamp(x + v_splat(3), 0, 6) * v_splat(1 / 6.0f)); }
INLINE vfloat v_elu(vfloat x, vfloat alpha, vfloat gamma) { /* gamma * (x, or alpha * (e^x - 1) below 0) */
  return gamma * v_select(x < v_zero, alpha * v_expm1(x), x);
}
INLINE vfloat v_celu(vfloat x, vfloat alpha) { return v_select(x < v_zero, alpha * v_expm1(x / alpha), x); }

/* --- in double precision ------------------------------------------------------------------------------------------ */
INLINE vdouble v_wide(vfloat x) { return __builtin_convertvector(x, vdouble); }
INLINE vfloat v_narrow(vdouble x) { return __builtin_convertvector(x, vfloat); }
INLINE vdouble v_wide_splat(double x) { return x - (vdouble){0}; }
INLINE vdouble v_wide_select(vlong mask, vdouble a, vdouble b) {
  return (vdouble)((mask & (vlong)a) | (~mask & (vlong)b));
}
INLINE vdouble v_wide_abs(vdouble x) { return (vdouble)((vlong)x & INT64_MAX); }
INLINE int v_wide_any(vlong mask) {
  int64_t any = 0;
  UNROLL for (int i = 0; i < LANES; i++) any |= mask[i];
  return any != 0;
}
#define WIDE_MAGIC 6755399441055744.0 /* 1.5 * 2^52: adding it rounds to a whole number, in the last bits */
INLINE vdouble v_wide_round(vdouble x) { /* |x| < 2^51 */
  vdouble magic = v_wide_splat(WIDE_MAGIC);
  return (x + magic) - magic;
}

INLINE vdouble v_wide_log2(vfloat a) { /* for 0 < a < infinity */
  vint e = v_exponent(a);
  vdouble m = v_wide(v_mantissa(a, e)), s = (m - 1.0) / (m + 1.0), z = s * s;
  vdouble l = z * (1.0 / 13) + 1.0 / 11;
  l = l * z + 1.0 / 9;
  l = l * z + 1.0 / 7;
  l = l * z + 1.0 / 5;
  l = l * z + 1.0 / 3;
  return (2 * s + 2 * s * z * l) * 1.4426950408889634 + __builtin_convertvector(e, vdouble);
}
INLINE vdouble v_wide_exp2(vdouble t) { /* of t in -160 .. 160, or the nearer end */
  t = v_wide_select(t > 160.0, v_wide_splat(160), t);
  t = v_wide_select(t < -160.0, v_wide_splat(-160), t);
  vdouble shifted = t + v_wide_splat(WIDE_MAGIC), r = (t - (shifted - v_wide_splat(WIDE_MAGIC))) * 0.6931471805599453;
  vdouble p = r * (1.0 / 5040) + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * (vdouble)(((vulong)shifted << 52) + (vulong)v_wide_splat(1));
}
INLINE vfloat v_pow(vfloat a, vfloat b) {
  vfloat one = v_splat(1), size = v_abs(a), half = b * v_splat(0.5f);
  vfloat y = v_narrow(v_wide_exp2(v_wide_log2(size) * v_wide(b)));
  vint whole = v_round(b) == b, odd = whole & (v_round(half) != half);
  vint zero = size < v_splat(1.17549435e-38f), endless = size == v_infinity(), b_endless = v_abs(b) == v_infinity();
  y = v_select(zero | endless, v_select((b > v_zero) ^ zero, v_infinity(), v_zero), y);
  y = v_select(b_endless, v_select(size == one, one, v_select((size > one) ^ (b < v_zero), v_infinity(), v_zero)), y);
  y = v_select(((vint)a < v_int_zero) & odd, -y, y);
  y = v_select((a < v_zero) & ~whole & ~endless & ~zero, v_not_a_number(), y);
  y = v_select((a != a) | (b != b), v_not_a_number(), y);
  return v_select((b == v_zero) | (a == one), one, y);
}

/* Of a large |x|, the turns but for whole ones: 1 / (2 pi) comes in pieces of 24 bits, so that products are exact. */
static vdouble v_turns(vdouble x) {
  static const double pieces[] = {
      0xa2f983p-26,  0x6e4e44p-50,  0x1529fcp-74,  0x2757d1p-98,
      0xf534ddp-122, 0xc0db62p-146, 0x95993cp-170, 0x439041p-194,
  };
  vdouble turns = {0};
  for (int i = 0; i < 8; i++) {
    vdouble y = x * pieces[i], part = y - v_wide_round(y);
    turns += v_wide_select(v_wide_abs(y) < 0x1p51, part, (vdouble){0}); /* else it is whole */
  }
  return turns - v_wide_round(turns) + (x - x);
}
INLINE vfloat v_sin_from(vfloat x, int quarters) { /* sin(x + quarters * pi / 2) */
  vdouble w = v_wide(x), k, rest;
  if (v_wide_any(v_wide_abs(w) > 1e5)) {
    vdouble turns = v_turns(w) * 4;
    k = v_wide_round(turns), rest = (turns - k) * 1.5707963267948966;
  } else {
    k = v_wide_round(w * 0.63661977236758134); /* the first product has no more than 53 bits */
    rest = w - k * 1.57079632673412561417 - k * 6.07710050650619224932e-11;
  }
  vfloat r = v_narrow(rest), z = r * r;
  vfloat s = v_splat(-1.9515295891e-4f) * z + v_splat(8.3321608736e-3f);
  s = r + r * z * (s * z + v_splat(-1.6666654611e-1f));
  vfloat c = v_splat(2.443315711809948e-5f) * z + v_splat(-1.388731625493765e-3f);
  c = v_splat(1) - v_splat(0.5f) * z + z * z * (c * z + v_splat(4.166664568298827e-2f));
  vint turn = __builtin_convertvector(v_wide_select((vlong)(k == k), k, (vdouble){0}), vint) + v_splat_int(quarters);
  vfloat y = v_select((turn & v_splat_int(1)) != v_int_zero, c, s);
  return v_select((turn & v_splat_int(2)) != v_int_zero, -y, y);
}
INLINE vfloat v_sin(vfloat x) { return v_sin_from(x, 0); }
INLINE vfloat v_cos(vfloat x) { return v_sin_from(x, 1); }

/* The rest of a / b for 0 <= a, 0 < b < infinity, exact: of large quotients 28 bits are taken away at a time. */
INLINE vdouble v_remainder(vdouble a, vdouble b) {
  vlong one = (vlong)v_wide_splat(1), large;
  int rounds = 0;
  do {
    vdouble q = a / b, w = v_wide_round(q);
    w = w - (vdouble)(one & (vlong)(w > q));
    large = (vlong)(q >= 0x1p28);
    w = v_wide_select(large, (vdouble)(((vulong)q - 1) & ~((UINT64_C(1) << 25) - 1)), w);
    a = a - w * b;
    a = v_wide_select(a < 0.0, a + b, a); /* the quotient was rounded up to a whole number */
  } while (v_wide_any(large) && ++rounds < 12);
  return a;
}
INLINE vfloat v_rest(vfloat a, vfloat b, vdouble rest) { /* with the sign of a; rest: of |a| / |b| */
  vfloat size = v_abs(a), by = v_abs(b), r = v_select(by == v_infinity(), size, v_narrow(rest));
  r = v_select((size == v_infinity()) | (by < v_splat(1.17549435e-38f)), v_not_a_number(), r);
  return v_with_sign_of(r, a);
}
INLINE vfloat v_fmod(vfloat a, vfloat b) { /* the sign of a */
  return v_rest(a, b, v_remainder(v_wide(v_abs(a)), v_wide(v_abs(b))));
}
INLINE vfloat v_mod(vfloat a, vfloat b) { /* the sign of b */
  vdouble rest = v_remainder(v_wide(v_abs(a)), v_wide(v_abs(b)));
  vint some = __builtin_convertvector((vlong)(rest != 0.0), vint) & (a != v_zero);
  vfloat r = v_rest(a, b, rest);
  return v_select(some & ((a < v_zero) ^ (b < v_zero)), r + b, r);
}

/* --- integers: what is divided by 0 gives 0 ----------------------------------------------------------------------- */
INLINE vint v_int_min(vint a, vint b) { return v_int_select(a < b, a, b); }
INLINE vint v_int_max(vint a, vint b) { return v_int_select(a > b, a, b); }
INLINE vint v_int_abs(vint a) { return v_int_select(a < v_int_zero, v_int_neg(a), a); }
INLINE vint v_int_sign(vint a) { return (a < v_int_zero) - (a > v_int_zero); }
INLINE vint v_int_div(vint a, vint b) { /* cut off towards zero; the quotient in double precision is never too large */
  vint zero = b == v_int_zero, minus = b == v_splat_int(-1);
  vdouble divisor = __builtin_convertvector(v_int_select(zero | minus, v_splat_int(1), b), vdouble);
  vint q = __builtin_convertvector(__builtin_convertvector(a, vdouble) / divisor, vint);
  return v_int_select(minus, v_int_neg(a), q & ~zero);
}
INLINE vint v_int_fmod(vint a, vint b) { return v_int_sub(a, v_int_mul(v_int_div(a, b), b)) & (b != v_int_zero); }
INLINE vint v_int_mod(vint a, vint b) {
  vint r = v_int_fmod(a, b);
  return v_int_select((r != v_int_zero) & ((r < v_int_zero) ^ (b < v_int_zero)), v_int_add(r, b), r);
}

#endif
