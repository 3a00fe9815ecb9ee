"""The reference pair: prefill and decode schedulers over device-resident pools."""
