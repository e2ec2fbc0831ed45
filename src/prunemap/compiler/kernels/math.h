/* Functions of vectors without branches and without a C library: polynomials after the Cephes library (S. Moshier) and
 * Cody and Waite's range reduction. A few float roundings of error; NaN stays NaN; denormals count as zero. */
#ifndef PMAP_MATH_H
#define PMAP_MATH_H

#include "simd.h"

typedef double vdouble __attribute__((vector_size(LANES * 8), aligned(8)));
typedef int64_t vlong __attribute__((vector_size(LANES * 8), aligned(8)));

#define v_zero ((vfloat){0})
#define v_int_zero ((vint){0})
INLINE vint v_splat_int(int32_t x) { return v_int_zero + x; }
INLINE vfloat v_abs(vfloat x) { return (vfloat)((vint)x & v_splat_int(0x7fffffff)); }
INLINE vfloat v_with_sign_of(vfloat x, vfloat sign) {
  return (vfloat)(((vint)x & v_splat_int(0x7fffffff)) | ((vint)sign & v_splat_int(-0x7fffffff - 1)));
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
  return v_with_sign_of(r - (vfloat)((vint)v_splat(1) & (r > x)), r - (vfloat)((vint)v_splat(1) & (r > x)));
}
INLINE vfloat v_ceil(vfloat x) { return -v_floor(-x); }
INLINE vfloat v_sign(vfloat x) {
  vfloat one = v_with_sign_of(v_splat(1), x);
  return v_select(x == v_zero, v_zero, v_select(x != x, x, one));
}
INLINE vint v_to_int(vfloat x) { return __builtin_convertvector(x, vint); }
INLINE vfloat v_to_float(vint x) { return __builtin_convertvector(x, vfloat); }

/* --- exponentials and logarithms -------------------------------------------------------------------------------- */
INLINE vfloat v_two_to(vint n) { return (vfloat)((n + v_splat_int(127)) << 23); } /* -126 <= n <= 127 */

INLINE vfloat v_exp(vfloat x) {
  vfloat high = v_splat(89.0f), low = v_splat(-104.0f), magic = v_splat(12582912.0f);
  x = v_select(x > high, high, v_select(x < low, low, x));
  vfloat shifted = x * v_splat(1.44269504088896341f) + magic, n = shifted - magic;
  vfloat r = x - n * v_splat(0.693359375f) + n * v_splat(2.12194440e-4f);
  vfloat p = v_splat(1.9875691500e-4f);
  p = p * r + v_splat(1.3981999507e-3f);
  p = p * r + v_splat(8.3334519073e-3f);
  p = p * r + v_splat(4.1665795894e-2f);
  p = p * r + v_splat(1.6666665459e-1f);
  p = p * r + v_splat(5.0000001201e-1f);
  p = p * (r * r) + r + v_splat(1);
  vint whole = (vint)shifted - (vint)magic, half = whole >> 1;
  return p * v_two_to(half) * v_two_to(whole - half);
}

INLINE vfloat v_log(vfloat x) {
  vint bits = (vint)x, tiny = bits < v_splat_int(0x00800000);
  vint e = ((bits - v_splat_int(0x3f3504f3)) >> 23); /* mantissa in [sqrt(1/2), sqrt(2)) */
  vfloat m = (vfloat)(bits - (e << 23)) - v_splat(1), n = v_to_float(e), z = m * m;
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
  y = v_select(x == v_infinity(), x, y);
  y = v_select(tiny, v_select((bits & v_splat_int(0x7f800000)) == v_int_zero, -v_infinity(), v_not_a_number()), y);
  return v_select(x != x, x, y);
}

INLINE vfloat v_log1p(vfloat x) { /* for 0 <= x: the rounding of 1 + x is made good */
  vfloat w = v_splat(1) + x;
  return v_log(w) - ((w - v_splat(1)) - x) / w;
}

/* --- activations ------------------------------------------------------------------------------------------------- */
INLINE vfloat v_sigmoid(vfloat x) { return v_splat(1) / (v_splat(1) + v_exp(-x)); }

INLINE vfloat v_tanh(vfloat x) {
  vfloat a = v_abs(x), z = x * x;
  vfloat p = v_splat(-5.70498872745e-3f);
  p = p * z + v_splat(2.06390887954e-2f);
  p = p * z + v_splat(-5.37397155531e-2f);
  p = p * z + v_splat(1.33314422036e-1f);
  p = p * z + v_splat(-3.33332819422e-1f);
  vfloat small = p * z * x + x, large = v_splat(1) - v_splat(2) / (v_exp(a + a) + v_splat(1));
  return v_select(a < v_splat(0.625f), small, v_with_sign_of(large, x));
}

INLINE vfloat v_softplus(vfloat x) { return v_max(x, v_zero) + v_log1p(v_exp(-v_abs(x))); }

INLINE vfloat v_erf(vfloat x) {
  vfloat a = v_abs(x), z = x * x, q = v_splat(1) / v_max(a, v_splat(1)), y = q * q;
  vfloat t = v_splat(7.853861353153693e-5f);
  t = t * z + v_splat(-8.010193625184903e-4f);
  t = t * z + v_splat(5.188327685732524e-3f);
  t = t * z + v_splat(-2.685381193529856e-2f);
  t = t * z + v_splat(1.128358514861418e-1f);
  t = t * z + v_splat(-3.761262582423300e-1f);
  t = t * z + v_splat(1.128379165726710f);
  vfloat p = v_splat(2.326819970068386e-2f); /* erfc(a) * a * exp(a * a) in 1 / (a * a): up to 2, and from 2 on */
  p = p * y + v_splat(-1.387039388740657e-1f);
  p = p * y + v_splat(3.687424674597105e-1f);
  p = p * y + v_splat(-5.824733027278666e-1f);
  p = p * y + v_splat(6.210004621745983e-1f);
  p = p * y + v_splat(-4.944515323274145e-1f);
  p = p * y + v_splat(3.404879937665872e-1f);
  p = p * y + v_splat(-2.741127028184656e-1f);
  p = p * y + v_splat(5.638259427386472e-1f);
  vfloat r = v_splat(-1.047766399936249e1f);
  r = r * y + v_splat(1.297719955372516e1f);
  r = r * y + v_splat(-7.495518717768503f);
  r = r * y + v_splat(2.921019019210786f);
  r = r * y + v_splat(-1.015265279202700f);
  r = r * y + v_splat(4.218463358204948e-1f);
  r = r * y + v_splat(-2.820767439740514e-1f);
  r = r * y + v_splat(5.641895067754075e-1f);
  vfloat rest = v_exp(-z) * q * v_select(a < v_splat(2), p, r);
  return v_select(a < v_splat(1), x * t, v_with_sign_of(v_splat(1) - rest, x));
}

INLINE vfloat v_gelu(vfloat x) { return v_splat(0.5f) * x * (v_splat(1) + v_erf(x * v_splat(0.70710678118654752f))); }
INLINE vfloat v_gelu_tanh(vfloat x) {
  vfloat inner = v_splat(0.7978845608f) * (x + v_splat(0.044715f) * x * x * x);
  return v_splat(0.5f) * x * (v_splat(1) + v_tanh(inner));
}
INLINE vfloat v_mish(vfloat x) { /* tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2) */
  vfloat e = v_exp(v_select(x > v_splat(30), v_splat(30), x)), n = e * (e + v_splat(2));
  return x * (n / (n + v_splat(2)));
}
INLINE vfloat v_hard_sigmoid(vfloat x, vfloat alpha, vfloat beta) {
  return v_max(v_zero, v_min(v_splat(1), x * alpha + beta));
}
INLINE vfloat v_elu(vfloat x, vfloat alpha, vfloat gamma) { /* gamma * (x, or alpha * (e^x - 1) below 0) */
  vfloat s = x * (v_splat(1) + x * (v_splat(0.5f) + x * (v_splat(1.66666667e-1f) + x * v_splat(4.16666667e-2f))));
  vfloat below = v_select(v_abs(x) < v_splat(0.05f), s, v_exp(v_min(x, v_zero)) - v_splat(1));
  return gamma * v_select(x < v_zero, alpha * below, x);
}

/* --- in double precision ------------------------------------------------------------------------------------------ */
INLINE vdouble v_wide(vfloat x) { return __builtin_convertvector(x, vdouble); }
INLINE vfloat v_narrow(vdouble x) { return __builtin_convertvector(x, vfloat); }
INLINE vdouble v_wide_splat(double x) { return (vdouble){0} + x; }
INLINE vdouble v_wide_round(vdouble x) { /* |x| < 2^51 */
  vdouble magic = v_wide_splat(6755399441055744.0);
  return (x + magic) - magic;
}

INLINE vfloat v_pow(vfloat a, vfloat b) {
  vint bits = (vint)v_abs(a), e = (bits - v_splat_int(0x3f3504f3)) >> 23;
  vdouble m = v_wide((vfloat)(bits - (e << 23))), s = (m - 1.0) / (m + 1.0), z = s * s;
  vdouble l = z * (1.0 / 13) + 1.0 / 11;
  l = l * z + 1.0 / 9;
  l = l * z + 1.0 / 7;
  l = l * z + 1.0 / 5;
  l = l * z + 1.0 / 3;
  vdouble log2a = (2 * s + 2 * s * z * l) * 1.4426950408889634 + __builtin_convertvector(e, vdouble);
  vdouble t = log2a * v_wide(b), most = v_wide_splat(160), least = v_wide_splat(-160);
  t = (vdouble)(((vlong)(t > most) & (vlong)most) | (~(vlong)(t > most) & (vlong)t));
  t = (vdouble)(((vlong)(t < least) & (vlong)least) | (~(vlong)(t < least) & (vlong)t));
  vdouble n = v_wide_round(t), r = (t - n) * 0.6931471805599453, p = r * (1.0 / 362880) + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  vlong power = (__builtin_convertvector(n, vlong) + 1023) << 52;
  vfloat y = v_narrow(p * (vdouble)power), one = v_splat(1), size = v_abs(a);
  vint whole = v_round(b) == b, odd = whole & (v_round(b * v_splat(0.5f)) != b * v_splat(0.5f));
  vint zero = (bits & v_splat_int(0x7f800000)) == v_int_zero, endless = size == v_infinity();
  y = v_select(zero | endless, v_select((b > v_zero) ^ zero, v_infinity(), v_zero), y);
  vint b_endless = v_abs(b) == v_infinity();
  y = v_select(b_endless, v_select(size == one, one, v_select((size > one) ^ (b < v_zero), v_infinity(), v_zero)), y);
  y = v_select(((vint)a < v_int_zero) & odd, -y, y);
  y = v_select((a < v_zero) & ~whole & ~endless & ~zero & ~b_endless, v_not_a_number(), y);
  y = v_select((a != a) | (b != b), v_not_a_number(), y);
  return v_select((b == v_zero) | (a == one), one, y);
}

INLINE vfloat v_sin_from(vfloat x, int quarters) { /* sin(x + quarters * pi / 2) */
  vdouble w = v_wide(x), k = v_wide_round(w * 0.63661977236758134);
  vdouble r = w - k * 1.5707963267948966 - k * 6.123233995736766e-17, z = r * r;
  vdouble s = r + r * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 - z * (1.0 / 39916800)))));
  vdouble c = 1.0 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 - z * (1.0 / 3628800)))));
  vlong turn = __builtin_convertvector(k, vlong) + quarters, is_cos = (turn & 1) != 0, is_minus = (turn & 2) != 0;
  vdouble y = (vdouble)((is_cos & (vlong)c) | (~is_cos & (vlong)s));
  return v_narrow((vdouble)((is_minus & (vlong)-y) | (~is_minus & (vlong)y)));
}
INLINE vfloat v_sin(vfloat x) { return v_sin_from(x, 0); }
INLINE vfloat v_cos(vfloat x) { return v_sin_from(x, 1); }

INLINE vfloat v_fmod(vfloat a, vfloat b) { /* the sign of a */
  vdouble x = v_wide(v_abs(a)), y = v_wide(v_abs(b)), q = x / y, w = v_wide_round(q);
  w = w - (vdouble)((vlong)v_wide_splat(1) & (vlong)(w > q));
  vfloat r = v_narrow(x - w * y);
  r = v_select(v_abs(b) == v_infinity(), v_abs(a), r);
  return v_select(v_abs(a) == v_infinity(), v_not_a_number(), v_with_sign_of(r, a));
}
INLINE vfloat v_mod(vfloat a, vfloat b) { /* the sign of b */
  vfloat r = v_fmod(a, b);
  return v_select((r != v_zero) & ((r < v_zero) ^ (b < v_zero)), r + b, r);
}

/* --- integers: a division that would trap gives 0, or what fits in 32 bits ------------------------------------------ */
INLINE vint v_int_select(vint mask, vint a, vint b) { return (mask & a) | (~mask & b); }
INLINE vint v_divisor(vint a, vint b) {
  vint wraps = (a == v_splat_int(INT32_MIN)) & (b == v_splat_int(-1));
  return v_int_select((b == v_int_zero) | wraps, v_splat_int(1), b);
}
INLINE vint v_int_div(vint a, vint b) { return v_int_select(b == v_int_zero, v_int_zero, a / v_divisor(a, b)); }
INLINE vint v_int_fmod(vint a, vint b) { return a - a / v_divisor(a, b) * v_divisor(a, b); }
INLINE vint v_int_mod(vint a, vint b) {
  vint r = v_int_fmod(a, b);
  return v_int_select((r != v_int_zero) & ((r < v_int_zero) ^ (b < v_int_zero)), r + b, r);
}

#endif
