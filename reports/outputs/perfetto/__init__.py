"""A recording as a trace file that ui.perfetto.dev and chrome://tracing open.

    requests.parquet --> request_tracks --+
    events.parquet   --> event_tracks   --+--> trace_file --> NAME.json.gz
    audits.parquet   --> writing        --+
    run.json phases  --> writing        --+

The format is the JSON of "Trace Event Format" (Google, 2016), in the dialect that Perfetto reads
(google/perfetto, src/trace_processor/importers/json/json_trace_parser_impl.cc): X is a slice of a
thread, i an instant, C a counter, s and f the two ends of an arrow, M a name. What follows from that
reader: ids of threads are unique over all processes, for it names a thread by its id alone; slices of
a thread never overlap but only nest, for it drops those that do; an arrow's ends are bound to the
slice that is open at its time, so they are written after the slices.
"""
