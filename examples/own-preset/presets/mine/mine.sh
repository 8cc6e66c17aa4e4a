#!/bin/sh
# Rendered by bottle: the client, which here only asks its model one thing.
exec curl --silent --show-error --oauth2-bearer "$MODEL_TOKEN" --json '{"ask":"hello"}' https://models.example.org/v1/chat
