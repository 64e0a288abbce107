"""A page in the browser: pictures in, answers drawn, words, two models beside each other, where they looked."""
