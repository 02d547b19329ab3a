"""How many people are on a picture?"""
