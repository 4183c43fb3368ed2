"""LSTM, GRU and simple recurrent networks on the CPU."""
