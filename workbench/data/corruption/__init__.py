"""What pre-training does to a text before a model must restore it: masks, spans, orders. numpy only."""
