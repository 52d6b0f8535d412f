/*
 * Random bytes by place: word w of a tensor is a mix of (seed, name, w), 64 bits a call, so any piece can be made by any
 * thread. Sixteen bits make a value: the sum of two bytes, -255 .. 255, a bell of standard deviation 104.5, which f32 and
 * bf16 hold exactly.
 */
#include "kernels/pack.h"
#include "runtime/synth.h"
#include "runtime/synth_planted.h"

#include <math.h>
#include <string.h>

static const uint64_t GOLDEN = 0x9e3779b97f4a7c15u;

/* The finaliser of SplitMix64: D. Steele, G. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t key_of(uint64_t seed, const char *name)
{
    uint64_t key = mix(seed + GOLDEN);
    for (const char *c = name; *c != '\0'; c++)
        key = mix(key + (unsigned char)*c + GOLDEN);
    return key;
}

static uint64_t word(uint64_t key, uint64_t i)
{
    return mix(key + (i + 1) * GOLDEN);
}

/* ---- numbers ---- */

static float value(const dgm_synth_tensor *t, float unit, uint64_t bits)
{
    const int q = (int)(bits & 255) + (int)(bits >> 8 & 255) - 255;
    switch (t->fill) {
    case DGM_SYNTH_NORM:
        return 1 + (float)(q & 31) / 128;
    case DGM_SYNTH_SCALES:
        return unit * (1 + (float)(q & 63) / 128);
    default:
        return (float)q * unit;
    }
}

/* Elements first .. first + n, four a word; first is a multiple of 4. */
static void fill_floats(void *dst, const dgm_synth_tensor *t, uint64_t key, bool half,
                        uint64_t first, size_t n)
{
    const float unit = ldexpf(1, t->exponent);
    float *wide = dst;
    uint16_t *narrow = dst;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits = i % 4 == 0 ? word(key, (first + i) / 4) : bits >> 16;
        const float x = value(t, unit, bits);
        if (!half) {
            wide[i] = x;
            continue;
        }
        uint32_t u;
        memcpy(&u, &x, sizeof u);
        narrow[i] = (uint16_t)(u >> 16);
    }
}

/* Bytes -127 .. 127: -128 becomes 0, eight at a time. */
static uint64_t int8_word(uint64_t x)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    const uint64_t other = ((x & low) + low) | ~x; /* high bit of each byte that is not 0x80 */
    return x & (other | low);
}

/* Nibbles q + 8 of 1 .. 15, so q of -7 .. 7: 0 becomes 8. */
static uint64_t int4_word(uint64_t x)
{
    uint64_t any = x | x >> 1;
    any = (any | any >> 2) & 0x1111111111111111u; /* 1 where the nibble is not 0 */
    return x | (any ^ 0x1111111111111111u) << 3;
}

static void fill_integers(void *dst, enum dgm_synth_fill fill, uint64_t key, uint64_t begin,
                          size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 8) {
        const uint64_t x = word(key, (begin + at) / 8),
                       y = fill == DGM_SYNTH_INT8 ? int8_word(x) : int4_word(x);
        memcpy((char *)dst + at, &y, bytes - at < 8 ? bytes - at : 8);
    }
}

/* ---- what is past the matrix's edge ---- */

/* Zero, or for int4 the nibble that stands for it, for output `lane` and inputs from `inputs` on of 64 bytes. */
static void clear_tail(unsigned char *line, const dgm_synth_tensor *t, int lane, int inputs)
{
    const int each = 64 / DGM_PANEL; /* bytes of an output */
    unsigned char *p = line + lane * each;
    if (t->fill != DGM_SYNTH_INT4) {
        memset(p + inputs * each / t->per, 0, (size_t)((t->per - inputs) * each / t->per));
        return;
    }
    for (int i = inputs; i < 8; i++) /* input i: byte i % 4, low nibble for the first four */
        p[i % 4] = (unsigned char)(i < 4 ? (p[i % 4] & 0xf0) | 8 : (p[i % 4] & 0x0f) | 0x80);
}

static void clear_edges(unsigned char *dst, const dgm_synth_tensor *t, uint64_t begin, size_t bytes)
{
    const uint64_t lines = (uint64_t)((t->k + t->per - 1) / t->per); /* of a panel */
    const int rest = t->k % t->per, last_panel = (t->n - 1) / DGM_PANEL;
    for (size_t at = 0; at < bytes; at += 64) {
        const uint64_t line = (begin + at) / 64;
        const bool last_line = rest != 0 && line % lines == lines - 1;
        const int lanes =
            line / lines == (uint64_t)last_panel ? t->n - last_panel * DGM_PANEL : DGM_PANEL;
        if (!last_line && lanes == DGM_PANEL)
            continue;
        for (int l = 0; l < DGM_PANEL; l++)
            if (l >= lanes || last_line)
                clear_tail(dst + at, t, l, l >= lanes ? 0 : rest);
    }
}

void dgm_synth_fill_part(void *dst, const dgm_synth_list *l, size_t i, uint64_t seed,
                         uint64_t begin, size_t bytes)
{
    const dgm_synth_tensor *t = &l->tensors[i];
    const uint64_t key = key_of(seed, t->name);
    DGM_ASSERT(begin % DGM_SYNTH_UNIT == 0);
    if (t->fill == DGM_SYNTH_INT8 || t->fill == DGM_SYNTH_INT4) {
        fill_integers(dst, t->fill, key, begin, bytes);
    } else {
        const bool half = strcmp(t->type, "BF16") == 0;
        const size_t size = half ? 2 : 4;
        fill_floats(dst, t, key, half, begin / size, bytes / size);
        if (t->fill == DGM_SYNTH_TASKS)
            dgm_synth_put_tasks(dst, t, key, begin / size, bytes / size);
        if (l->spec->plant.languages > 0)
            dgm_planted_put(dst, l->spec, t, begin / size, bytes / size);
    }
    if (t->panels)
        clear_edges(dst, t, begin, bytes);
}
