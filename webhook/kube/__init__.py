"""Kubernetes: the API client, list-and-watch, informers, work queues, leader election, Events."""
