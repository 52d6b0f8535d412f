#include "runtime/split_rules.h"

#include "runtime/split_abbrev.h"
#include "runtime/split_icu.h"
#include "runtime/split_text.h"

#include <string.h>
#include <unicode/uchar.h>

enum { LONGEST_ABBREV = 24 }; /* bytes */

/* A quotation mark or bracket, opening or closing. */
static bool is_wrapper(int32_t c)
{
    switch (u_charType(c)) {
    case U_START_PUNCTUATION:
    case U_END_PUNCTUATION:
    case U_INITIAL_PUNCTUATION:
    case U_FINAL_PUNCTUATION:
        return true;
    default:
        return c == '"' || c == '\'' || c == '*' || c == '_';
    }
}

dgm_has dgm_span_has(const char *text, dgm_span s)
{
    dgm_has has = {false, false};
    for (size_t i = s.begin; i < s.end && !has.letter; i = dgm_char_next(text, i)) {
        const int32_t c = dgm_char_at(text, i);
        has.letter = u_isalpha(c);
        has.word = has.word || u_isalnum(c);
    }
    return has;
}

/* The word that ends at `end` (where its full stop stands); empty when too long for an abbreviation. */
static dgm_span word_before(const char *text, size_t begin, size_t end)
{
    dgm_span w = {.begin = end, .end = end};
    while (w.begin > begin) {
        if (end - w.begin > LONGEST_ABBREV)
            return (dgm_span){end, end};
        const size_t at = dgm_char_previous(text, w.begin);
        if (dgm_space_bytes(text + at, w.begin - at) > 0 || is_wrapper(dgm_char_at(text, at)) ||
            text[at] == '/')
            break;
        w.begin = at;
    }
    return w;
}

/* "J", "U.S", "z.B", "J.-C": single letters with full stops (and hyphens) between. Only letters that have cases: 네 is a
 * whole word. */
static bool is_initials(const char *text, dgm_span w)
{
    for (size_t i = w.begin; i < w.end;) {
        const int32_t c = dgm_char_at(text, i);
        if (!u_isupper(c) && !u_islower(c))
            return false;
        i = dgm_char_next(text, i);
        if (i == w.end)
            return true;
        if (text[i] != '.')
            return false;
        i += i + 1 < w.end && text[i + 1] == '-' ? 2 : 1;
    }
    return false;
}

/* "3", "19", "XIX": what a full stop makes an ordinal in some languages. */
static bool is_numeral(const char *text, dgm_span w)
{
    size_t digits = 0, roman = 0;
    const size_t len = w.end - w.begin;
    for (size_t i = w.begin; i < w.end; i++) {
        digits += text[i] >= '0' && text[i] <= '9';
        roman += strchr("IVXLC", text[i]) != NULL;
    }
    return len > 0 && ((digits == len && len <= 2) || roman == len);
}

/* "3. Mai" and "3. 5. 2024", but not "Nr. 5. Dann". */
static bool is_ordinal(const char *text, size_t begin, dgm_span w, int32_t next)
{
    const dgm_span before = dgm_span_trim(text, (dgm_span){begin, w.begin});
    const bool after_stop = before.end > before.begin && text[before.end - 1] == '.';
    return is_numeral(text, w) && (u_isdigit(next) || (u_isalpha(next) && !after_stop));
}

/* Does the full stop at `stop` belong to the word before it? `next` is the next sentence's first character. */
static bool is_abbreviation(const char *text, size_t begin, size_t stop, int32_t next,
                            const char *lang)
{
    const dgm_span w = word_before(text, begin, stop);
    return is_initials(text, w) ||
           dgm_abbrev_known(text + w.begin, w.end - w.begin, lang, u_isdigit(next)) ||
           (dgm_abbrev_ordinal(lang) && is_ordinal(text, begin, w, next)) ||
           dgm_icu_abbreviation(text + begin, stop - begin, lang);
}

/* "Vraiment ? » demanda-t-elle.": French sets a space before its closing mark, and ICU parts them there. */
static bool starts_with_closer(const char *text, dgm_span s)
{
    const int8_t type = u_charType(dgm_char_at(text, s.begin));
    const size_t next = dgm_char_next(text, s.begin);
    return (type == U_FINAL_PUNCTUATION || type == U_END_PUNCTUATION) && next < s.end &&
           dgm_space_bytes(text + next, s.end - next) > 0;
}

/* Both have words. When in doubt yes: halves of a sentence translate badly. */
static bool belong(const char *text, dgm_span left, dgm_span right, const char *lang)
{
    size_t end = left.end;
    while (is_wrapper(
        dgm_char_at(text, dgm_char_previous(text, end)))) /* left has a word, so this ends */
        end = dgm_char_previous(text, end);
    const bool closed = end < left.end;
    size_t begin = right.begin;
    while (!u_isalnum(dgm_char_at(text, begin)))
        begin = dgm_char_next(text, begin);
    const int32_t first = dgm_char_at(text, begin), opens = dgm_char_at(text, right.begin);
    const bool bare = begin == right.begin;
    if (u_islower(first) && ((closed && bare) || u_charType(opens) == U_DASH_PUNCTUATION))
        return true; /* "Really?" he asked.  Opravdu? – zeptal se. */
    if (closed && bare && (first == 0x3068 || first == 0x3063))
        return true; /* 「はい。」と言った。 (と, って) */
    const size_t stop = dgm_char_previous(text, end);
    return !closed && text[stop] == '.' && is_abbreviation(text, left.begin, stop, opens, lang);
}

bool dgm_split_belong(const char *text, dgm_span left, dgm_has left_has, dgm_span right,
                      dgm_has right_has, const char *lang)
{
    if (!left_has.letter || !right_has.word) /* "1." before "Take it.", "!!!" after "Fine." */
        return true;
    return starts_with_closer(text, right) || belong(text, left, right, lang);
}
