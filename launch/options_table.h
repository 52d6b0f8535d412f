/* options_table.h - the rows behind launch/options.h. */
#ifndef DGM_LAUNCH_OPTIONS_TABLE_H
#define DGM_LAUNCH_OPTIONS_TABLE_H

#include "base/config.h"
#include "launch/options.h"

extern const dgm_opt dgm_option_rows[];
extern const int dgm_option_row_count;

#endif
