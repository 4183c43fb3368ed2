"""Parts of every backend: kernel pairs in terms of ``xp``, random numbers and traces."""
