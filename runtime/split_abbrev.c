#include "runtime/split_abbrev.h"

#include <string.h>

/*
 * On top of what ICU knows for German, English, Spanish, French, Italian, Portuguese and Russian: for the languages of
 * the demonstration models. Only words that seldom end a sentence: "etc." and "usw." are left out, since joining
 * two sentences by mistake is as much a mistake.
 */
static const struct {
    const char *lang, *always, *before_digit;
} lists[] = {
    {"eng_Latn",
     " Mr Mrs Ms Messrs Dr Prof St Mt Ft Lt Col Gen Capt Cpl Sgt Maj Adm Rev Fr Gov Sen Rep Hon "
     "Pres Supt Det Sr Jr"
     " vs cf viz approx esp incl resp ca e.g i.e eg ie ",
     " No Nos Fig Figs Eq Vol Ch Sec Art pp p ed Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov "
     "Dec "},
    {"deu_Latn",
     " Dr Prof Hr Hrn Fr Frl St Dipl Ing Mag bzw ca vgl evtl ggf inkl exkl einschl sog geb gest "
     "insb bspw zzgl max min"
     " usf Jan Feb Apr Jun Jul Aug Sept Okt Nov Dez d.h z.B u.a o.ä i.d.R ",
     " Nr Nrn Abb Abs Art Bd Kap Tel S Abt Jg Str Mio Mrd Tsd "},
    {"fra_Latn",
     " M MM Mr Dr Pr Mgr Me St Ste cf env p.ex c.-à-d J.-C av apr janv févr avr juil sept oct nov "
     "déc éd coll ",
     " no nos art chap fig vol p pp t tél bd n° N° "},
    {"ces_Latn",
     " např tzv tj tzn resp cca popř příp vč mj zvl sv Dr Ing Mgr Bc JUDr MUDr MVDr PhDr RNDr "
     "PaedDr Prof Doc prof doc"
     " p pp ul nám tř gen plk kpt kap npor por rtm nadpor mjr pplk st ml ",
     " č Č čís str odst obr tab sv roč tel tis mil mld r ř "},
};

/* FLORES codes by their first three letters. */
static const char ordinal_langs[] =
    " als bos ces dan deu est eus fao fin hrv hun isl lim lit ltg ltz lvs mkd nno nob"
    " pol slk slv srp szl tur ";

static bool is_in(const char *list, const char *word, size_t len)
{
    for (const char *s = list; *s != '\0'; s += strcspn(s, " ")) {
        s += strspn(s, " ");
        if (strcspn(s, " ") == len && len > 0 && memcmp(s, word, len) == 0)
            return true;
    }
    return false;
}

bool dgm_abbrev_known(const char *word, size_t len, const char *lang, bool before_digit)
{
    char small[16];
    if (len == 0 || len >= sizeof small)
        return false;
    /* "Např." at the start of a sentence is "např."; ASCII is enough for these lists. */
    memcpy(small, word, len);
    if (small[0] >= 'A' && small[0] <= 'Z')
        small[0] = (char)(small[0] + ('a' - 'A'));
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (strcmp(lists[i].lang, lang) != 0)
            continue;
        if (is_in(lists[i].always, word, len) || is_in(lists[i].always, small, len))
            return true;
        return before_digit && (is_in(lists[i].before_digit, word, len) ||
                                is_in(lists[i].before_digit, small, len));
    }
    return false;
}

bool dgm_abbrev_ordinal(const char *lang)
{
    return strlen(lang) >= 3 && is_in(ordinal_langs, lang, 3);
}
