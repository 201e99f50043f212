"""Adapt what decides to a lab's own scored wells without losing what was learnt: ``xtalgrid-train adapt``.

First the pooling, and how a second opinion is combined with it: small logistic regressions, fitted near those in use
(`decider`). Then, if wanted, the end of the network, with the pooling after it (`layer`). How far to go is chosen by
folds (`choose`), so that few wells change little, and judged by folds around these (`run`).
"""
