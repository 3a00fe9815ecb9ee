"""The replay: a virtual-time prefill and decode pair, its audits, its recording and its verdict."""
