/* csv.h - tables as files (RFC 4180): a line of names, then lines of values. */
#ifndef DGM_RUNTIME_CSV_H
#define DGM_RUNTIME_CSV_H

#include "base/status.h"

#include <stdio.h>

typedef struct dgm_csv {
    FILE *f; /* rows are printed here; numbers as they are */
    char *text;
    size_t bytes;
    char path[4096];
} dgm_csv;

/* dgm_csv_folder - makes dir if it is not there. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_csv_folder(const char *dir);
/* dgm_csv_begin - the table dir/name.csv, in memory. DGM_ENOMEM, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_csv_begin(dgm_csv *c, const char *dir, const char *name);
/* dgm_csv_text - a field of text, in quotes where it needs them, without a comma. */
void dgm_csv_text(dgm_csv *c, const char *text);
/* dgm_csv_end - writes the file, atomically. DGM_EOUTPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_csv_end(dgm_csv *c);

#endif
