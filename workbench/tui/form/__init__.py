"""Forms: the fields of a recipe, a draft of one, and the widgets that change it by keyboard."""
