#include "launch/commands.h"
#include "launch/filter.h"

int dgm_cmd_score(const dgm_options *o)
{
    return dgm_filter_run(o);
}
