# Reads a page in the text format of Prometheus 0.0.4 and complains of whatever is not as it should be: each family has its HELP and TYPE
# first and its samples in one piece, no sample comes twice, counters end in _total, times and sizes are named by their units, and of a
# histogram the buckets ascend, none counts less than the one before, and +Inf is the count. Exit 1 after a complaint.
function complain(what) { print "line " NR ": " what ": " $0; bad = 1 }
function family(name) {
    if (type[name] != "") return name
    sub(/_(bucket|sum|count)$/, "", name)
    return name
}
# end_series: a histogram's buckets are over
function end_series() {
    if (series != "" && !ended) { print "line " NR ": " series " has no +Inf"; bad = 1 }
    series = ""
}
/^# HELP [a-z_]+ [^ ].*\.$/ {
    end_series()
    if (help[$3] != "") complain("a second HELP")
    help[$3] = 1; current = $3; next
}
/^# TYPE [a-z_]+ (counter|gauge|histogram)$/ {
    if ($3 != current) complain("TYPE without HELP before")
    if (type[$3] != "") complain("a second TYPE")
    type[$3] = $4
    if ($4 == "counter" && $3 !~ /_total$/) complain("a counter without _total")
    if ($4 != "counter" && $3 ~ /_total$/) complain("_total, but no counter")
    if ($4 == "histogram" && $3 !~ /_seconds$/) complain("a histogram without its unit")
    if ($3 !~ /^dragoman_/) complain("a name of others")
    next
}
!/^[a-z_]+(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*\})? (\+Inf|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)$/ { complain("no sample"); next }
{
    name = $1; sub(/\{.*/, "", name)
    key = $0; sub(/ [^ ]*$/, "", key)
    if (seen[key]++) complain("a sample that was there")
    f = family(name)
    if (f != current) complain("a sample without its HELP and TYPE before it")
    n_samples++
    if (type[f] == "counter" && $NF < 0) complain("a counter below 0")
    if (type[f] != "histogram") next
    labels = key; sub(/^[a-z_]+/, "", labels); sub(/,?le="[^"]*"/, "", labels)
    if (labels == "{}") labels = ""
    if (name ~ /_bucket$/) {
        le = key; if (!sub(/.*le="/, "", le)) complain("a bucket without le"); sub(/".*/, "", le)
        if (series != f labels) { end_series(); series = f labels; below = -1; before = 0; ended = 0 }
        if (ended || (le != "+Inf" && le + 0 <= below)) complain("buckets do not ascend")
        if ($NF < before) complain("a bucket counts less than the one before")
        below = le + 0; before = $NF; ended = le == "+Inf"
        if (ended) all[f labels] = $NF
    } else if (name ~ /_count$/) {
        if ($NF != all[f labels] || all[f labels] == "") complain("another count than +Inf")
    } else if (name !~ /_sum$/) complain("no part of a histogram")
}
END {
    end_series()
    for (name in help) if (type[name] == "") { print name " has no TYPE"; bad = 1 }
    if (n_samples < 100) { print "only " n_samples " samples"; bad = 1 }
    exit bad
}
